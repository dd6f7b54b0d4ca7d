"""Leave from this host itself: there is no protocol and no server."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from byway.dialects.card import Card, Lent, Out
from byway.engine import DialOptions
from byway.interfaces import Outbound
from byway.outbounds.direct import Direct
from byway.outbounds.reach import Layer
from byway.values.name_server import ServerWord
from byway.values.texts import HostAddress, Interface, Many


class DirectOutbound(Out):
    """Connect directly from this host."""

    type: Literal["direct"]
    bind: HostAddress | None = None
    """The local address to connect from."""
    interface: Interface | None = None
    """The network interface to use."""
    mark: int | None = Field(default=None, ge=0, le=0xFFFF_FFFF)
    """The firewall mark of its packets (needs CAP_NET_ADMIN)."""
    dns: Annotated[tuple[ServerWord, ...], Many] | None = None
    """The resolver for its targets: a server of `dns` or an address, or several; none: as `dns`
    decides."""

    @property
    def carries_names(self) -> bool:
        """They are resolved here."""
        return False

    @property
    def asks(self) -> tuple[str, ...] | None:
        """The name servers of its own."""
        return self.dns

    @property
    def dialling(self) -> DialOptions:
        """From where, and by which device."""
        return DialOptions(bind=self.bind, interface=self.interface, mark=self.mark)

    def outbound(
        self, name: str, via: Outbound | None, lent: Lent, noted: Layer | None
    ) -> Outbound:
        """This host."""
        resolver = lent.resolver if self.dns is None else lent.resolver.by(self.dns)
        # After the flow's own deadline (within an eighth more), which says what limit it was.
        mark = lent.mark if self.mark is None else self.mark
        options = replace(self.dialling, timeout=1.25 * lent.dial, mark=mark)
        return Direct(name, lent.engine, resolver, options, lent.own, loops=lent.loops)


CARD = Card(outbound=DirectOutbound)
