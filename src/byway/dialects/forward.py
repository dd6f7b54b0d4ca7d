"""A plain forwarder: nothing is spoken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from byway.dialects.card import Card, Lead, Lent, Theirs, Written
from byway.dialects.login import Open
from byway.flow import TCP_ONLY, Network
from byway.inbounds.entry import Entry
from byway.inbounds.forward import Forward
from byway.values.foreign import Foreign, NotCarried, endpoint
from byway.values.texts import HostPort, Many, NetworkName
from byway.values.written import Node

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound


class ForwardInbound(Open):
    """A plain forwarder: what comes in goes to one target."""

    type: Literal["forward"]
    target: HostPort
    """The target: `host:port`."""
    network: Annotated[tuple[NetworkName, ...], Many] = Field(default="tcp", validate_default=True)
    """tcp, udp or both."""

    @property
    def guarded(self) -> bool:
        """Its one target is the config's and not a client's: guarded only where configured."""
        return self.allow_local is False

    @property
    def leads(self) -> Sequence[Lead]:
        """Its one target."""
        return (Lead(("target",), self.target, frozenset(self.network)),)

    @classmethod
    def networks_of(cls, node: Node) -> frozenset[Network]:
        """The networks that a section takes, as far as it can be read."""
        return node.networks("network", TCP_ONLY)

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The listeners, not open yet."""
        entry = Entry(name, means, guarded=self.guarded)
        return Forward(entry, self.places(), self.target, frozenset(self.network), options)


def _networks(entry: Foreign) -> list[str]:
    return entry.texts("network") or ["tcp", "udp"]


def _of_clash(entry: Foreign) -> Written:
    return {"type": "forward", "target": entry.text("target"), "network": _networks(entry)}


def _of_sing_box(entry: Foreign) -> Written:
    if entry.enabled("tls"):
        raise NotCarried("skipped, because its TLS is not supported")
    target = endpoint(entry.text("override_address"), entry.number("override_port"))
    return {"type": "forward", "target": target, "network": _networks(entry)}


CARD = Card(
    ForwardInbound,
    clash=Theirs(entering={"tunnel": _of_clash}),
    sing_box=Theirs(entering={"direct": _of_sing_box}),
)
