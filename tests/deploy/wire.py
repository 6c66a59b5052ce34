"""Two network namespaces of Linux that a wire joins: each packet takes its time, so that a handshake does as well."""

import ctypes
import fcntl
import multiprocessing
import os
import select
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from scripts import Skip, need  # noqa: E402

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
NEAR, FAR = "192.0.2.1", "192.0.2.2"
LIBC = ctypes.CDLL(None, use_errno=True)


class Wire:
    """Within the block this thread is in the near namespace; `command` starts a program in the far one, at FAR."""

    def __init__(self, delay):
        if os.geteuid() or not os.path.exists("/dev/net/tun"):
            raise Skip("only root may join network namespaces, and there must be a /dev/net/tun")
        self.delay = delay
        self.ip = need("ip", "iproute2")

    def __enter__(self):
        self.home = namespace()
        self.far, far_end = self.end(FAR, NEAR)
        self.near, near_end = self.end(NEAR, FAR)
        carrier = multiprocessing.get_context("fork").Process
        self.carrier = carrier(target=carry, args=(near_end, far_end, self.delay), daemon=True)
        self.carrier.start()
        os.close(near_end)
        os.close(far_end)
        return self

    def __exit__(self, *_):
        enter(self.home)
        self.carrier.terminate()
        self.carrier.join()
        for descriptor in (self.home, self.near, self.far):
            os.close(descriptor)

    def end(self, address, peer):
        """Enters a new namespace; returns it, and where its packets come out."""
        if LIBC.unshare(CLONE_NEWNET):
            raise Skip(f"a network namespace cannot be made: {os.strerror(ctypes.get_errno())}")
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"wire", IFF_TUN | IFF_NO_PI))
        for arguments in (f"addr add {address} peer {peer} dev wire", "link set wire up txqueuelen 10000", "link set lo up"):
            subprocess.run([self.ip, *arguments.split()], check=True)
        return namespace(), tun

    def command(self, *command):
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.far}", *command]

    def set(self, name, value):
        """Sets a parameter of the kernel in the far namespace."""
        setting = self.command("sh", "-c", f"echo {value} >/proc/sys/{name.replace('.', '/')}")
        if subprocess.run(setting, stderr=subprocess.DEVNULL).returncode:
            raise Skip(f"this kernel has no {name}")


def namespace():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def enter(descriptor):
    if LIBC.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def carry(near, far, delay):
    """Brings each packet to the other end when its time has come."""
    other, due = {near: far, far: near}, []
    while True:
        ready = select.select(other, [], [], max(0, due[0][0] - time.monotonic()) if due else None)[0]
        for end in ready:
            due += [(time.monotonic() + delay, other[end], packet) for packet in packets(end)]
        while due and due[0][0] <= time.monotonic():
            _, end, packet = due.pop(0)
            os.write(end, packet)


def packets(end):
    try:
        while True:
            yield os.read(end, 1 << 16)
    except BlockingIOError:
        pass
