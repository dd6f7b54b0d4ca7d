"""Connections that the kernel's NAT redirects: nothing is spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from byway.dialects.card import Card, Lent, Theirs, Written
from byway.dialects.diverting import Diverting
from byway.flow import TCP_ONLY, Network
from byway.inbounds.diverted import Diverted, redirected
from byway.inbounds.entry import Entry
from byway.values.foreign import Foreign

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound


class RedirectInbound(Diverting):
    """TCP connections that nftables or iptables redirect here (NAT)."""

    by: ClassVar[str] = "redirect"

    type: Literal["redirect"]

    @property
    def taking(self) -> frozenset[Network]:
        """Connections alone: nothing remembers the target of a packet."""
        return TCP_ONLY

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The listeners, not open yet."""
        entry = Entry(name, means, guarded=self.guarded)
        return Diverted(
            entry, self.places(), TCP_ONLY, redirected, options, lent.own, self.returned(lent)
        )


def _written(entry: Foreign) -> Written:
    return {"type": "redirect"}


CARD = Card(
    RedirectInbound,
    clash=Theirs(entering={"redir": _written}, ports=("redir-port",)),
    sing_box=Theirs(entering={"redirect": _written}),
)
