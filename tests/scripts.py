"""What the scripts in the directories beside this file have in common: tools, the service, a table of outcomes."""

import atexit
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SERVICE = "tests/clients/service.rs"
STARTED = "micro-smol: Accepting connections on "


class Skip(Exception):
    """Why something cannot be tried on this machine."""


POLICY = pathlib.Path("/usr/sbin/policy-rc.d")


def need(command, package):
    """The path of a command, installed from Debian's packages if it is missing; never as a service of the system."""
    path = shutil.which(command)
    if path is None and shutil.which("apt-get") and os.geteuid() == 0:
        with no_services(package):
            install(package)
        path = shutil.which(command)
    if path is None:
        raise Skip(f"{command} is missing, and {package} cannot be installed")
    return path


def install(package):
    quietly = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = ["apt-get", "install", "-y", "--no-install-recommends", package]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, env=environment, **quietly).returncode:
        subprocess.run(["apt-get", "update"], **quietly)
        subprocess.run(command, env=environment, **quietly)


@contextlib.contextmanager
def no_services(package):
    """Debian asks the policy whether a package may start its service; at the next start of the system it does not either."""
    is_ours = not POLICY.exists()
    if is_ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if is_ours:
            POLICY.unlink()
        if shutil.which("systemctl"):
            subprocess.run(["systemctl", "disable", "--now", package], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def need_python(package):
    """A Python that has a package from PyPI, in an environment of its own below target."""
    home = target() / "python" / package
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        steps = [[sys.executable, "-m", "venv", home], [python, "-m", "pip", "install", "--quiet", package]]
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True)
            if done.returncode:
                raise Skip(f"{package} cannot be installed: {last_line(done.stderr or done.stdout)}")
        (home / "complete").touch()
    return str(python)


def target():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()


def last_line(text):
    return (text.strip().splitlines() or ["it says nothing"])[-1]


def said(*command):
    """Whether a command has nothing to object to, and else what."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return done.returncode == 0, "" if done.returncode == 0 else last_line(done.stdout + done.stderr)


def free_port():
    """A port that nobody listens on for now, for programs that cannot pick one themselves."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)
    return value


def accepts(address, family=socket.AF_INET):
    """Whether somebody listens there."""
    with socket.socket(family) as client:
        return client.connect_ex(address) == 0


def cpu_seconds(pid):
    """The CPU time that a process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Service:
    """The service of the scripts, or another program with its options; it is stopped on leaving the block."""

    def __init__(self, *options, command=None, **popen):
        command = command or [*micro_smol(), SERVICE]
        options = options or ("-H", "127.0.0.1", "-p", "0")
        self.process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True, **popen)
        # Whatever happens to the script, the service does not outlive it.
        atexit.register(self.process.kill)
        line = self.process.stdout.readline()
        if not line.startswith(STARTED):
            sys.exit(f"the service does not start: {line!r}")
        self.url = line.removeprefix(STARTED).strip()
        self.port = int(self.url.rpartition(":")[2]) if self.url.startswith("http") else None
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.process.stdout.close()

    def stop(self, seconds=20):
        """Ends it in the orderly way, and returns its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def micro_smol():
    """The command that serves a file, built first."""
    subprocess.run(["cargo", "build", "--quiet", "--release", "--locked", "--bin", "micro-smol"], cwd=ROOT, check=True)
    return [str(target() / "release" / "micro-smol")]


def built(file=SERVICE):
    """The executable of a file, as micro-smol builds it: for programs that are started many times."""
    with Service("-H", "127.0.0.1", "-p", "0", command=[*micro_smol(), file]) as service:
        return [os.readlink(f"/proc/{service.pid}/exe")]


class Table:
    """Outcomes, printed as they come; the end says how many failed."""

    def __init__(self, title):
        print(f"{title}\n", flush=True)
        self.failed = self.passed = self.skipped = 0
        self.start = time.monotonic()

    def row(self, name, fact, good, detail=""):
        """A line for one fact."""
        print(f"{name:<14} {fact:<44} {self.count(good)} {detail}".rstrip(), flush=True)

    def line(self, name, facts, outcomes):
        """A line for all facts of a name; what is not among the outcomes was not tried."""
        cells = [self.count(outcomes[fact]) if fact in outcomes else "-" for fact in facts]
        print(f"{name:<12} {' '.join(f'{cell:<9}' for cell in cells)}{outcomes.get('why', '')}".rstrip(), flush=True)

    def skip(self, name, reason):
        self.skipped += 1
        print(f"{name:<12} skipped: {reason}", flush=True)

    def count(self, good):
        self.passed += bool(good)
        self.failed += not good
        return "ok" if good else "FAILED"

    def end(self):
        print(f"\n{time.monotonic() - self.start:.0f} s")
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)
