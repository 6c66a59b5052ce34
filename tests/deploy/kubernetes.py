"""deploy/kubernetes.yaml through `podman kube play`; HAProxy and this script do what only a cluster does."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from load import Load  # noqa: E402
from podman import inspected, is_confined, need_bridge, podman  # noqa: E402
from scripts import ROOT, accepts, wait_for  # noqa: E402


def kubernetes(table):
    need_bridge()
    deployment, *others = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    hello = pod["containers"][0]
    # Podman publishes a port of each replica on one port of the machine, and probes with programs that the image does not have.
    settings = taken(hello, "ports", "readinessProbe", "livenessProbe") | taken(pod, "terminationGracePeriodSeconds")
    unknown = taken(deployment["spec"], "strategy") | taken(pod, "automountServiceAccountToken", "topologySpreadConstraints")
    names = [*settings, *unknown, *(other["kind"] for other in others)]
    table.skip("kubernetes", f"not for Podman: {', '.join(names)}")
    podman("tag", "hello", hello["image"])
    podman("network", "create", "--subnet=192.0.2.0/24", "cluster")
    pods, replicas = Pods(deployment, settings), range(deployment["spec"]["replicas"])
    old, new = [f"192.0.2.{10 + replica}" for replica in replicas], [f"192.0.2.{20 + replica}" for replica in replicas]
    pods.play("hello", old)
    table.row("kubernetes", f"podman kube play: {len(old)} pods are ready", all(map(pods.becomes_ready, old)))
    table.row("kubernetes", "each passes its livenessProbe", all(map(pods.is_alive, old)))
    table.row("kubernetes", "each is nobody, without rights, in 128 MiB", all(map(pods.is_limited, old)))
    with service(pods, old, new) as url:
        roll(table, pods, old, new, Load(url))


def taken(mapping, *names):
    return {name: mapping.pop(name) for name in names}


class Pods:
    """The pods of a Deployment in Podman, by address."""

    def __init__(self, deployment, settings):
        self.deployment, self.settings, self.names = deployment, settings, {}
        ports = {port["name"]: port["containerPort"] for port in settings["ports"]}
        self.probe = settings["readinessProbe"]
        self.path = self.probe["httpGet"]["path"]
        self.port = ports[self.probe["httpGet"]["port"]]
        self.live_port = ports[settings["livenessProbe"]["tcpSocket"]["port"]]

    def play(self, name, addresses):
        self.deployment["metadata"]["name"] = name
        self.deployment["spec"]["replicas"] = len(addresses)
        file = pathlib.Path(os.environ["TMPDIR"], f"{name}.yaml")
        file.write_text(json.dumps(self.deployment))
        podman("kube", "play", "--network=cluster", *(f"--ip={address}" for address in addresses), file)
        self.names |= {address: f"{name}-pod-{replica}-hello" for replica, address in enumerate(addresses)}

    def status(self, address, path):
        """The status of a pod's answer, if it answers."""
        try:
            with urllib.request.urlopen(f"http://{address}:{self.port}{path}", timeout=5) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def becomes_ready(self, address):
        return wait_for(lambda: self.status(address, self.path) == 200, "the readinessProbe to pass")

    def is_alive(self, address):
        return accepts((address, self.live_port))

    def is_limited(self, address):
        memory = inspected(self.names[address], ".HostConfig.Memory")
        return is_confined(self.names[address]) and memory == str(128 << 20)

    def stop(self, address):
        """Starts to stop a pod, with SIGKILL at the end of the time that the Deployment gives it."""
        grace = self.settings["terminationGracePeriodSeconds"]
        command = ["podman", "stop", f"--time={grace}", self.names[address]]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


SERVICE = """\
defaults
    mode tcp
    retries 0
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen service
    bind 127.0.0.1:80
    balance leastconn
    option httpchk GET {path}
    default-server check inter {period}s fall {failures} rise 1
"""


@contextlib.contextmanager
def service(pods, old, new):
    """Spreads connections over the pods that are ready, as a Service does. It does not try a connection again."""
    probe = pods.probe
    text = SERVICE.format(path=pods.path, period=probe["periodSeconds"], failures=probe["failureThreshold"])
    text += "".join(f"    server {address} {address}:{pods.port}\n" for address in [*old, *new])
    config, log = (pathlib.Path(os.environ["TMPDIR"], f"service.{suffix}") for suffix in ("cfg", "log"))
    config.write_text(text)
    with open(log, "w") as messages:
        proxy = subprocess.Popen(["haproxy", "-f", config], stderr=messages)
    try:
        # The new pods do not run yet.
        wait_for(lambda: log.read_text().count("is DOWN") == len(new), "HAProxy")
        yield "http://127.0.0.1:80/"
    finally:
        proxy.terminate()
        proxy.wait()


def roll(table, pods, old, new, load):
    """A rolling update, as the Deployment says: a new pod is ready before an old one is told to stop."""
    stops, serving = [], []
    for replica, (before, after) in enumerate(zip(old, new)):
        pods.play(f"next-{replica}", [after])
        pods.becomes_ready(after)
        stops.append(pods.stop(before))
        wait_for(lambda: pods.status(before, pods.path) == 503, "the readinessProbe to fail")
        serving.append(pods.status(before, "/") == 200 and pods.is_alive(before))
    table.row("kubernetes", "a pod that ends is not ready, but serves", all(serving))
    for stop in stops:
        stop.wait()
    answered, errors = load.outcome()
    table.row("kubernetes", f"{len(old)} pods replaced, {answered} requests", not errors and answered > 1000, errors)
    codes = [inspected(pods.names[address], ".State.ExitCode") for address in old]
    table.row("kubernetes", "each stops with 0", codes == ["0"] * len(old), str(codes))
