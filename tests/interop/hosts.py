"""Three hosts of the tests' own, in network namespaces, for what loopback cannot show.

    client 198.51.100.2 -- 198.51.100.1 proxy 192.0.2.1 -- 192.0.2.2 origin

The proxy forwards no packets, and what it sends to 203.0.113.0/24 by way of the origin is lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.interop.programs import missing, need, run, told, until

PROXY, ORIGIN, BLACK_HOLE = "198.51.100.1", "192.0.2.2", "203.0.113.1"


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names of three network namespaces."""

    client: str
    proxy: str
    origin: str

    def on(self, host: str) -> list[str]:
        """The words that run a command on one of them."""
        return [need("ip"), "netns", "exec", host]

    def answering(self, host: str, address: str, port: int) -> None:
        """Wait until a port accepts connections from that host."""
        probe = [*self.on(host), need("nc"), "-z", "-w", "2", address, str(port)]
        until(lambda: run(*probe).returncode == 0, 20, f"{address}:{port}")


@contextmanager
def three_hosts() -> Iterator[Hosts]:
    """Three hosts and two links, gone afterwards."""
    ip = need("ip")
    if os.geteuid() != 0:
        missing("network namespaces need root")
    made = Hosts(*(f"byway-{os.getpid()}-{role}" for role in ("client", "proxy", "origin")))

    def link(left: str, near: str, right: str, far: str, name: str) -> None:
        words = ("link", "add", f"{name}0", "netns", left, "type", "veth", "peer", f"{name}1")
        told(run(ip, *words, "netns", right))
        for host, device, address in ((left, f"{name}0", near), (right, f"{name}1", far)):
            told(run(ip, "-n", host, "addr", "add", f"{address}/30", "dev", device))
            told(run(ip, "-n", host, "link", "set", device, "up"))

    with ExitStack() as stack:
        for host in (made.client, made.proxy, made.origin):
            done = run(ip, "netns", "add", host)
            if done.returncode:
                missing(f"no network namespaces here: {done.stderr.decode()}")
            stack.callback(run, ip, "netns", "del", host)
            told(run(ip, "-n", host, "link", "set", "lo", "up"))
        link(made.client, "198.51.100.2", made.proxy, PROXY, "cp")
        link(made.proxy, "192.0.2.1", made.origin, ORIGIN, "po")
        route = ("route", "add", "203.0.113.0/24", "via", ORIGIN)
        told(run(ip, "-n", made.proxy, *route))
        yield made
