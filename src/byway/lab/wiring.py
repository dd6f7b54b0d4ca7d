"""Who is joined to whom, which addresses that gives, and which routes follow. Pure: only values.

Links between hosts carry public addresses (of the documentation ranges, RFC 5737 and RFC 3849),
LANs private ones (RFC 1918, RFC 4193). The private side of a router with NAT is known only to
those inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from itertools import count, islice

_PUBLIC = ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24")


@dataclass(eq=False)
class Node:
    """A machine as the wiring sees it: its ports, and what it does with others' packets."""

    name: str
    forwards: bool = False
    nat: bool = False
    ports: list[Port] = field(default_factory=list)


@dataclass(eq=False)
class Segment:
    """A stretch of network whose ports hear each other: a link or a LAN."""

    name: str
    net4: IPv4Network
    net6: IPv6Network
    private: bool
    mtu: int
    delay: float = 0.0  # seconds, one way
    ports: list[Port] = field(default_factory=list)
    made: bool = False

    def attach(self, node: Node) -> Port:
        """Give the node the next device and the next addresses of this segment."""
        n = len(self.ports) + 1
        try:
            v4 = next(islice(self.net4.hosts(), n - 1, None))
        except StopIteration:
            raise ValueError(f"{self.name}: no address left in {self.net4}") from None
        port = Port(
            node=node,
            segment=self,
            device=f"eth{len(node.ports)}",
            v4=IPv4Interface((v4, self.net4.prefixlen)),
            v6=IPv6Interface((self.net6.network_address + n, self.net6.prefixlen)),
        )
        node.ports.append(port)
        self.ports.append(port)
        return port


@dataclass(eq=False)
class Port:
    """One network device of one node, on one segment."""

    node: Node
    segment: Segment
    device: str
    v4: IPv4Interface
    v6: IPv6Interface
    made: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a segment, or to everything else when `segment` is None."""

    segment: Segment | None
    gateway: Port
    device: str


class Plan:
    """Hands out the addresses of one lab."""

    def __init__(self) -> None:
        self._public = (
            subnet for block in _PUBLIC for subnet in IPv4Network(block).subnets(new_prefix=28)
        )
        self._numbers = count(1)
        self._private = count(1)

    def segment(self, name: str, *, private: bool, mtu: int, delay: float = 0.0) -> Segment:
        """A segment with addresses of its own. Raises ValueError when the public ones run out."""
        if private:
            n = next(self._private)
            net4 = IPv4Network(f"192.168.{n}.0/24")
            net6 = IPv6Network(f"fd00:0:0:{n:x}::/64")
        else:
            try:
                net4 = next(self._public)
            except StopIteration:
                raise ValueError("a lab has addresses for 48 links, no more") from None
            net6 = IPv6Network(f"2001:db8:{next(self._numbers):x}::/64")
        return Segment(name, net4, net6, private, mtu, delay)


def routes(node: Node) -> Iterator[Route]:
    """The shortest way to every segment the node may know and is not on, then its default.

    A node with one port that forwards nothing gets only a default route, as an ordinary machine
    has. Others get no default: what is nowhere in the lab is unreachable, and they say so.
    """
    known = {port.segment for port in node.ports}
    queue = [(port.segment, port, None) for port in node.ports]
    at: list[tuple[Segment, Port, Port | None]] = list(queue)
    found: list[Route] = []
    while at:
        segment, own, first = at.pop(0)
        for door in segment.ports:
            gateway = first or door
            if door.node is node or not door.node.forwards:
                continue
            for way in door.node.ports:
                hidden = door.node.nat and way.segment.private and not segment.private
                if way.segment in known or hidden:
                    continue
                known.add(way.segment)
                found.append(Route(way.segment, gateway, own.device))
                at.append((way.segment, own, gateway))
    if node.forwards or len(node.ports) != 1:
        yield from found
    elif found:
        yield Route(None, found[0].gateway, found[0].device)


def setup(node: Node) -> str:
    """The shell script that gives a node its addresses, routes and NAT; safe to run again."""
    lines = []
    if node.forwards:
        lines += [
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
        ]
    batch = []
    for port in node.ports:
        batch += [
            f"link set dev {port.device} mtu {port.segment.mtu} up",
            f"addr replace {port.v4} dev {port.device}",
            f"addr replace {port.v6} dev {port.device} nodad",
        ]
    for route in routes(node):
        via4, via6 = route.gateway.v4.ip, route.gateway.v6.ip
        to4 = route.segment.net4 if route.segment else "default"
        to6 = route.segment.net6 if route.segment else "default"
        batch += [
            f"route replace {to4} via {via4} dev {route.device}",
            f"route replace {to6} via {via6} dev {route.device}",
        ]
    lines += ["ip -batch - <<'END'", *batch, "END"]
    if node.nat:
        lines += ["nft -f - <<'END'", _nat(node), "END"]
    return "\n".join(lines) + "\n"


def _nat(node: Node) -> str:
    outside = ", ".join(f'"{port.device}"' for port in node.ports if not port.segment.private)
    inside = ", ".join(f'"{port.device}"' for port in node.ports if port.segment.private)
    if not inside or not outside:
        raise ValueError(f"{node.name}: NAT needs a LAN on one side and a link on the other")
    return f"""\
table inet nat
delete table inet nat
table inet nat {{
  chain leave {{
    type nat hook postrouting priority 100
    oifname {{ {outside} }} masquerade
  }}
  chain pass {{
    type filter hook forward priority 0
    iifname {{ {outside} }} oifname {{ {inside} }} ct state new drop
  }}
}}"""
