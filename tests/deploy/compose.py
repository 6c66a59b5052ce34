"""deploy/compose.yaml as it is, through podman-compose, with images of this machine in place of those that it builds and pulls."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from load import Load  # noqa: E402
from podman import BUILD, inspected, is_confined, need_bridge, podman  # noqa: E402
from scripts import ROOT, said, wait_for  # noqa: E402

FILE = ROOT / "deploy" / "compose.yaml"
URL = "http://127.0.0.1:8080/"

PROXY = """\
FROM scratch
COPY root/ /
USER 99:99
STOPSIGNAL SIGUSR1
ENTRYPOINT ["/haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
"""


def build_proxy(base):
    """Builds an image of this system's HAProxy and its libraries, with the name that compose.yaml has."""
    program = shutil.which("haproxy")
    libraries = re.findall(r"/\S+", subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout)
    for source, copy in [(program, "haproxy"), *((library, library.lstrip("/")) for library in libraries)]:
        (base / "root" / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, base / "root" / copy)
    (base / "Dockerfile").write_text(PROXY)
    podman(*BUILD, "--tag=docker.io/library/haproxy:lts", base)


def compose(table):
    need_bridge()
    build_proxy(pathlib.Path(os.environ["TMPDIR"], "proxy"))
    podman("tag", "hello", "localhost/deploy_service")
    settings = yaml.safe_load(FILE.read_text())["services"]["service"]
    replicas = [f"deploy_service_{number}" for number in range(1, settings["scale"] + 1)]
    program = [pathlib.Path(sys.executable).parent / "podman-compose", "-f", FILE]
    table.row("compose", "podman-compose up", *said(*program, "up", "--detach", "--no-build"))
    wait_for(lambda: all(map(is_asked, replicas)), "the proxy to ask each replica")
    table.row("compose", "the proxy asks each replica for /ready", True)
    table.row("compose", "it answers through the proxy", *said("curl", "--silent", "--fail", URL))
    table.row("compose", "each replica is nobody and has no rights", all(map(is_confined, replicas)))
    healthy = [said("podman", "healthcheck", "run", replica)[0] for replica in replicas]
    table.row("compose", "each replica passes its HEALTHCHECK", all(healthy))
    restart(table, replicas, settings["stop_grace_period"].rstrip("s"))
    table.row("compose", "podman-compose stop", *said(*program, "stop"))
    codes = [inspected(name, ".State.ExitCode") for name in [*replicas, "deploy_proxy_1"]]
    table.row("compose", "each container stops with 0", codes == ["0"] * len(codes), str(codes))


def is_asked(replica):
    """Whether another container has connected to the replica's port, 3000. Linux lists addresses and states in hexadecimal."""
    pid = inspected(replica, ".State.Pid")
    sockets = [line.split() for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    listens, loopback = "0A", "0100007F:"
    return any(
        local.endswith(":0BB8") and not local.startswith(loopback) and state != listens
        for _, local, _, state, *_ in sockets
    )


def restart(table, replicas, grace):
    """Stops and starts one replica after the other, under load."""
    load, codes = Load(URL), []
    for replica in replicas:
        before = said_by_proxy(" is UP")
        podman("stop", f"--time={grace}", replica)
        codes.append(inspected(replica, ".State.ExitCode"))
        podman("start", replica)
        wait_for(lambda: said_by_proxy(" is UP") > before, "the proxy to use the replica again")
    answered, errors = load.outcome()
    table.row("compose", f"{len(replicas)} replicas restarted, {answered} requests", not errors and answered > 1000, errors)
    table.row("compose", "each replica stops with 0", codes == ["0"] * len(codes), str(codes))
    not_ready = said_by_proxy("Layer7 wrong status, code: 503")
    table.row("compose", "each said 503 to the proxy before it stopped", not_ready == len(replicas), f"{not_ready}")


def said_by_proxy(words):
    """How often the proxy has logged the words."""
    return subprocess.run(["podman", "logs", "deploy_proxy_1"], capture_output=True, text=True).stderr.count(words)
