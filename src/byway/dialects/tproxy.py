"""Connections and packets to others, as they are, by tproxy: nothing is spoken."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from byway.dialects.card import Card, Lent, Theirs, Written
from byway.dialects.diverting import Diverting
from byway.flow import TCP_AND_UDP, Network
from byway.inbounds.diverted import Diverted, kept
from byway.inbounds.entry import Entry
from byway.values.foreign import Foreign
from byway.values.texts import Many, NetworkName
from byway.values.written import Node

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound


class TproxyInbound(Diverting):
    """TCP connections and UDP packets that nftables or iptables divert here as they are (tproxy).
    Needs CAP_NET_ADMIN."""

    by: ClassVar[str] = "tproxy"

    type: Literal["tproxy"]
    network: Annotated[tuple[NetworkName, ...], Many] = Field(
        default=("tcp", "udp"), validate_default=True
    )
    """tcp, udp or both."""

    @property
    def taking(self) -> frozenset[Network]:
        """What it is told to take."""
        return frozenset(self.network)

    @classmethod
    def networks_of(cls, node: Node) -> frozenset[Network]:
        """What a section takes, as far as it can be read."""
        return node.networks("network", TCP_AND_UDP)

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The listeners, not open yet."""
        entry = Entry(name, means, guarded=self.guarded)
        options = replace(options, transparent=True)
        networks = frozenset(self.network)
        return Diverted(
            entry, self.places(), networks, kept, options, lent.own, self.returned(lent)
        )


def _of_clash(entry: Foreign) -> Written:
    both = entry.flag("udp") if "udp" in entry else True
    return {"type": "tproxy", "network": ["tcp", "udp"] if both else ["tcp"]}


def _of_sing_box(entry: Foreign) -> Written:
    return {"type": "tproxy", "network": entry.texts("network") or ["tcp", "udp"]}


CARD = Card(
    TproxyInbound,
    clash=Theirs(entering={"tproxy": _of_clash}, ports=("tproxy-port",)),
    sing_box=Theirs(entering={"tproxy": _of_sing_box}),
)
