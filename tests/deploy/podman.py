"""Podman, and what it and the kernel say of a container."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from scripts import Skip, said  # noqa: E402

BUILD = ["build", "--quiet", "--format=docker", "--pull=never", "--isolation=chroot", "--network=host"]


def podman(*arguments):
    """What Podman answers."""
    done = subprocess.run(["podman", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"podman {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout.strip()


def need_bridge():
    """Containers that talk to each other need a bridge and the translation of addresses."""
    for command in ("ip link add probe type bridge", "ip link delete probe", "iptables --table nat --list"):
        done, why = said(*command.split())
        if not done:
            raise Skip(f"containers have no network here: {why}")


def inspected(container, what):
    return podman("inspect", "--type=container", f"--format={{{{{what}}}}}", container)


def is_confined(container):
    """Whether its process is nobody's and has no capability, and can neither get more nor write a file."""
    status = pathlib.Path(f"/proc/{inspected(container, '.State.Pid')}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    is_nobody = fields["Uid"].split() == fields["Gid"].split() == ["65534"] * 4
    capabilities = int(fields["CapBnd"], 16) | int(fields["CapEff"], 16)
    can_get_none = fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    return is_nobody and not capabilities and can_get_none and inspected(container, ".HostConfig.ReadonlyRootfs") == "true"
