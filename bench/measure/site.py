"""The ground: two hosts joined by one cable, in network namespaces of this run alone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

NEAR_ADDRESS = "10.99.0.1"
FAR_ADDRESS = "10.99.0.2"
TARGET = f"{FAR_ADDRESS}:7000"
PORTS = range(1080, 1120)
"""Where programs listen; kept out of the ephemeral ports, so that they can always be bound."""

_ROUTED = "10.99.1"
"""The network of the target's addresses that are routed to one program each."""

_NAME = re.compile(r"byway-bench-(\d+)-(near|far)")
_ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
_CONTROLS = ("cubic", "reno")
"""Congestion controls from the one we want most on. None that paces: a cable without delay would
measure its timers."""
_SYSCTLS = (
    # Tens of thousands of connections a second, all between the same two addresses.
    "net.ipv4.tcp_tw_reuse=1",
    "net.ipv4.ip_local_port_range=1024 65535",
    f"net.ipv4.ip_local_reserved_ports={PORTS.start}-{PORTS.stop - 1},7000",
)


def routed(port: int) -> str:
    """The target, by the address that is routed to the program with this port."""
    return f"{_ROUTED}.{port - PORTS.start + 1}:7000"


def output(command: Sequence[str]) -> str:
    """Run a command to its end. Raises RuntimeError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Site:
    """A context that makes the namespaces and takes them away with all that runs in them.

    The client and the program under test stand on the near host, the target on the far one. Both
    use the same congestion `control`.
    """

    def __init__(self) -> None:
        self.near = f"byway-bench-{os.getpid()}-near"
        self.far = f"byway-bench-{os.getpid()}-far"
        # Some kernels show the file outside containers only.
        allowed = _ALLOWED.read_text(encoding="ascii") if _ALLOWED.exists() else ""
        self.control = congestion_control(allowed)
        self._folder = tempfile.TemporaryDirectory(prefix="byway-bench-")
        self.folder = Path(self._folder.name)

    def __enter__(self) -> Site:
        clear_leftovers()
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for name in (self.near, self.far):
            remove_namespace(name)
        self._folder.cleanup()

    def _build(self) -> None:
        for name in (self.near, self.far):
            output(["ip", "netns", "add", name])
        cable = ["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.far]
        output(["ip", "-n", self.near, *cable])
        for name, address in ((self.near, NEAR_ADDRESS), (self.far, FAR_ADDRESS)):
            output(["ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0"])
            for device in ("lo", "eth0"):
                output(["ip", "-n", name, "link", "set", device, "up"])
            control = f"net.ipv4.tcp_congestion_control={self.control}"
            output([*inside(name), "sysctl", "-qw", control, *_SYSCTLS])
        # The target's further addresses, each for one program: on the far host, and by the cable
        # for what bears the mark of a program's own.
        far = f"{_ROUTED}.0/24"
        output(["ip", "-n", self.far, "route", "add", "local", far, "dev", "lo"])
        output(["ip", "-n", self.near, "route", "add", far, "via", FAR_ADDRESS])
        for rule in ("pref 99 fwmark 0x2d7 lookup main", "pref 100 lookup 100"):
            output(["ip", "-n", self.near, "rule", "add", *rule.split()])

    def write(self, name: str, text: str) -> Path:
        """Put a configuration into this run's folder."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


def congestion_control(allowed: str) -> str:
    """What a namespace is given, of the names that the kernel allows there (a line of words)."""
    names = allowed.split()
    return next((one for one in (*_CONTROLS, *names) if one in names), "reno")


def inside(namespace: str) -> list[str]:
    """The words that make the command behind them run there, under the same process id."""
    return ["ip", "netns", "exec", namespace]


def remove_namespace(name: str) -> None:
    """End what runs there and delete it; a namespace that is not there is fine."""
    with contextlib.suppress(RuntimeError):
        for pid in output(["ip", "netns", "pids", name]).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    with contextlib.suppress(RuntimeError):
        output(["ip", "netns", "delete", name])


def clear_leftovers() -> None:
    """Remove the namespaces of runs that were killed before they could."""
    for name, pid in leftovers(output(["ip", "netns", "list"])):
        if not Path(f"/proc/{pid}").exists():
            remove_namespace(name)


def leftovers(listing: str) -> list[tuple[str, int]]:
    """Our names in the answer of `ip netns list`, each with the run that made it."""
    matches = (_NAME.fullmatch(line.split()[0]) for line in listing.splitlines() if line.strip())
    return [(match[0], int(match[1])) for match in matches if match]
