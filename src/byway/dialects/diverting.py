"""What the inbounds for diverted flows have in common: their listeners are addresses, open to
nobody who is not diverted there, and the firewall may be Byway's to set up."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from byway.dialects.card import In, Lent
from byway.flow import Network, Target
from byway.inbounds.diverted import Returned
from byway.inbounds.listener import Address
from byway.system.firewall.taking import Diversion, Taken
from byway.values.problems import Path, Problems
from byway.values.texts import Interface, ListenAddress, Many, Ports, PrefixText
from byway.values.written import Node

_LOOPBACK = ("127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what is forwarded comes to the address of its link
_SET_UP = ("auto", "lan")


class Diverting(In):
    """An inbound that a firewall diverts flows to."""

    diverts: ClassVar[bool] = True
    keeps_strangers_out: ClassVar[bool] = True  # what was sent to the listener itself is refused
    by: ClassVar[str]

    listen: Annotated[tuple[ListenAddress, ...], Many] = ()
    """Where to listen: `address:port`, `[v6]:port`; none: chosen by Byway, with `auto` or `lan`."""
    auto: bool = False
    """Take what this host itself sends: Byway sets up the firewall, and undoes it."""
    lan: Annotated[tuple[Interface, ...], Many] = ()
    """Take what devices behind these interfaces send through this host (gateway mode), likewise."""
    exclude: Annotated[tuple[PrefixText, ...], Many] = ()
    """Targets that are left alone, beside the private networks that this host is on."""
    exclude_uid: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Many] = ()
    """Users of this host whose traffic is left alone."""
    strict: bool = False
    """Let nothing leave this host but by Byway, also while Byway is dead."""
    services: Annotated[tuple[Ports, ...], Many] = ()
    """Ports of this host whose clients are answered wherever they are, with `strict`."""

    @property
    def marks(self) -> bool:
        """Whether what Byway itself sends must be told from all else."""
        return self.auto or bool(self.lan)

    @property
    def guarded(self) -> bool:
        """Devices of a LAN are kept from this host's own addresses."""
        return bool(self.lan) if self.allow_local is None and self.lan else super().guarded

    @property
    @abstractmethod
    def taking(self) -> frozenset[Network]:
        """What it takes."""

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        listen = node.get("listen")
        for at, item in enumerate(listen.items() if listen is not None else []):
            if isinstance(item.content, str) and item.content.startswith("unix:"):
                message = "a firewall diverts to an address and a port, not to a unix socket"
                problems.add((*path, "listen", at), message)
        set_up = [key for key in _SET_UP if (one := node.get(key)) is not None and one.content]
        if listen is None and not set_up:
            hint = "add listen, or auto: true to have Byway set up the firewall"
            problems.add(path, "listen is missing", hint)
        for key in ("exclude", "exclude_uid", "strict", "services"):
            if not set_up and (one := node.get(key)) is not None and one.content:
                message = f"{key} needs a firewall that Byway sets up"
                problems.add((*path, key), message, "add auto: true, or lan", at_key=True)

    def places(self) -> list[Address]:
        """Where it listens; what is forwarded comes to whatever address its link has."""
        if self.listen:
            return super().places()
        return any_places(bool(self.lan) and self.by == "redirect")

    def diversion(self, addresses: Sequence[str]) -> Diversion | None:
        """What the firewall is to bring here."""
        if not self.marks:
            return None
        taken = taken_at(addresses, self.taking, self.by, self.auto, self.lan)
        users = tuple(map(str, self.exclude_uid))
        exclude = tuple(map(str, self.exclude))
        services = tuple(f"{first}-{last}" for first, last in self.services)
        return Diversion(taken, exclude, users, self.strict, services)

    def returned(self, lent: Lent) -> Returned | None:
        """What notices our own dials that come back; a firewall of Byway's own spares them."""
        return None if self.marks else lent.returned


def any_places(forwarded: bool) -> list[Address]:
    """Listeners at ports that are chosen at the start; what is `forwarded` and redirected comes to
    whatever address its link has."""
    hosts = _EVERYWHERE if forwarded else _LOOPBACK
    return [Target.of(host, 0) for host in hosts]


def taken_at(
    addresses: Sequence[str],
    networks: frozenset[Network],
    by: str,
    own: bool,
    lan: Sequence[str],
) -> tuple[Taken, ...]:
    """What is taken by listeners that are open at these addresses."""
    found = []
    for network in sorted(networks, key=lambda one: one.value):
        places = [_place(addresses, network, size) for size in (4, 16)]
        ports, hosts = (places[0].port, places[1].port), (places[0].host, places[1].host)
        found.append(Taken(network.value, by, ports, own, tuple(lan), hosts))
    return tuple(found)


def _place(addresses: Sequence[str], network: Network, size: int) -> Target:
    """Where a network of addresses of that size is taken; port 0: nowhere."""
    loopback = _LOOPBACK[0 if size == 4 else 1]
    for text in addresses:
        place, _, udp = text.partition("/")
        target = Target.parse(place)
        packed = target.packed
        if bool(udp) is (network is Network.UDP) and packed is not None and len(packed) == size:
            return target if any(packed) else Target.of(loopback, target.port)
    return Target.of(loopback, 0)
