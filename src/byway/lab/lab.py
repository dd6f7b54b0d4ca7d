"""The internet in a box: describe hosts and links, and they are there until the block ends."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from byway.lab import wiring
from byway.lab.authority import Authority
from byway.lab.host import Host, Router, addresses_of
from byway.lab.premises import Addressed
from byway.lab.process import Process
from byway.lab.space import Run, Space
from byway.lab.wall import Wall
from byway.lab.wiring import Node, Plan, Port, Segment

H = TypeVar("H", bound=Host)


class Lab:
    """Builds and owns everything; use it as a context manager.

    The description is only noted down at first. `settle` makes it real, and whoever runs a program
    on a host settles first, so that descriptions can be written in any order.
    """

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.awaited: list[Process] = []
        self.hosts: dict[str, Host] = {}
        self._plan = Plan()
        self._segments: list[Segment] = []
        self._spaces: dict[str, Space] = {}
        self._names: dict[str, tuple[Addressed | str, ...]] = {}
        self._resolver: Host | None = None
        self._changed = False
        self._run = Run()
        try:
            self.authority = Authority(self._run.directory)
            self.authority.make()
        except BaseException:
            self._run.close()
            raise

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all programs and remove everything. Idempotent."""
        try:
            for process in self.processes:
                process.signal(signal.SIGTERM)
            for process in self.processes:
                process.stop()
        finally:
            self._run.close()
            for process in self.processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)

    @property
    def id(self) -> str:
        """What tells this lab from others that run now."""
        return self._run.id

    @property
    def rootless(self) -> bool:
        """Whether it runs in a user namespace, without root."""
        return self._run.rootless

    @property
    def directory(self) -> Path:
        """A place for files, gone with the lab; every host sees it under the same path."""
        return self._run.directory

    # describing

    def host(self, name: str) -> Host:
        """A new machine. Raises ValueError when the name is taken."""
        return self._add(Host(self, Node(self._fresh(name))))

    def router(self, name: str, *, nat: bool = False) -> Router:
        """A machine that forwards. With NAT, its LANs are hidden and its links are outside."""
        return self._add(Router(self, Node(self._fresh(name), forwards=True, nat=nat)))

    def wall(self, name: str = "wall") -> Wall:
        """A router that drops, lies and resets as it is told. Its first link or LAN is inside."""
        return self._add(Wall(self, Node(self._fresh(name), forwards=True)))

    def link(self, a: Host, b: Host, *, mtu: int = 1500, delay: float = 0.0) -> None:
        """Join two hosts by a cable of public addresses; `delay` is seconds, each way."""
        segment = self._plan.segment(f"{a.name}-{b.name}", private=False, mtu=mtu, delay=delay)
        self._attach(segment, (a, b))

    def lan(self, name: str, *members: Host, mtu: int = 1500, private: bool = True) -> None:
        """Join any number of hosts by a switch, with private addresses unless told otherwise."""
        self._attach(self._plan.segment(name, private=private, mtu=mtu), members)

    def resolver(self, host: Host) -> None:
        """Let this host answer the lab's DNS, and every host ask it. NAME.lab is known already."""
        self._resolver = host
        self._changed = True
        self._write_zone()
        zone = str(self._run.directory / "zone.json")
        host.python("byway.lab.servers.names", zone)

    def name(self, name: str, *to: Addressed | str) -> None:
        """Teach the lab's DNS a name: the addresses of hosts, or address literals."""
        self._names[name] = to
        self._write_zone()

    # being

    def settle(self) -> None:
        """Make real what was described since last time, and wait until started servers serve."""
        if self._changed:
            self._changed = False
            for segment in self._segments:
                self._make(segment)
            for host in self.hosts.values():
                host.space.script(wiring.setup(host.node))
                if isinstance(host, Wall):
                    host.open()
            self._write_zone()
        while self.awaited:
            self.awaited.pop(0).wait_for("^ready")

    def space_of(self, node: Node) -> Space:
        """The namespaces of a node, made on first request."""
        if node.name not in self._spaces:
            self._spaces[node.name] = self._run.space(node.name)
        return self._spaces[node.name]

    def _fresh(self, name: str) -> str:
        if name in self.hosts or not name.replace("-", "").isalnum():
            raise ValueError(f"{name!r} is taken, or no host name")
        return name

    def _add(self, host: H) -> H:
        self.hosts[host.name] = host
        return host

    def _attach(self, segment: Segment, members: Iterable[Host]) -> None:
        for host in members:
            segment.attach(host.node)
        self._segments.append(segment)
        self._changed = True

    def _make(self, segment: Segment) -> None:
        """Lay the cables of a segment, each made inside its host's namespace."""
        ports = [port for port in segment.ports if not port.made]
        if len(segment.ports) == 2 and segment.delay == 0 and len(ports) == 2:
            a, b = ports
            _veth(self.space_of(a.node), a.device, self.space_of(b.node), b.device, segment.mtu)
        else:
            self._plug(segment, ports)
        for port in ports:
            port.made = True

    def _plug(self, segment: Segment, ports: list[Port]) -> None:
        """Join ports in a namespace of the segment's own: by a switch, or by a slow cable."""
        middle = self.space_of(Node(f"seg.{segment.name}"))
        for n, port in enumerate(ports):
            _veth(self.space_of(port.node), port.device, middle, f"p{n}", segment.mtu)
        off = "/proc/sys/net/ipv6/conf/p{}/disable_ipv6"
        quiet = [f"echo 1 > {off.format(n)}" for n in range(len(ports))]
        up = [f"ip link set p{n} up" for n in range(len(ports))]
        if segment.delay:
            middle.script("\n".join([*quiet, *up]))
            self._start_cable(middle, segment.delay)
        else:
            bridge = ["ip link add br0 type bridge forward_delay 0", "ip link set br0 up"]
            join = [f"ip link set p{n} master br0" for n in range(len(ports))]
            middle.script("\n".join([*quiet, *bridge, *join, *up]))

    def _start_cable(self, middle: Space, delay: float) -> None:
        argv = [sys.executable, "-m", "byway.lab.servers.cable", "p0", "p1", str(delay)]
        env = next(iter(self.hosts.values())).environment()
        cable = Process(middle.command(argv), middle.name, middle.directory / "log", env)
        self.processes.append(cable)
        self.awaited.append(cable)

    def _write_zone(self) -> None:
        if self._resolver is None:
            return
        known = {f"{host.name}.lab": (host,) for host in self.hosts.values()}
        zone = {name: addresses_of(to) for name, to in {**known, **self._names}.items()}
        place = self._run.directory / "zone.json"
        draft = place.with_suffix(".new")
        draft.write_text(json.dumps(zone))
        draft.replace(place)
        servers = [str(ip) for ip in self._resolver.addresses[:2]]
        for host in self.hosts.values():
            lines = [f"nameserver {ip}\n" for ip in servers]
            text = "".join([*lines, "search lab\noptions timeout:2 attempts:2\n"])
            (host.space.directory / "resolv.conf").write_text(text)


def _veth(a: Space, device_a: str, b: Space, device_b: str, mtu: int) -> None:
    peer = f"peer name {device_b} mtu {mtu} netns {b.pid}"
    a.script(f"ip link add {device_a} mtu {mtu} type veth {peer}")
