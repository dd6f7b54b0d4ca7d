"""A virtual NIC: every program's packets, without a setting in any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from byway.dialects.card import Card, In, Lent
from byway.flow import TCP_AND_UDP, Network
from byway.inbounds.entry import Entry
from byway.inbounds.tun import Nic, TunInbound
from byway.values.problems import Path, Problems
from byway.values.texts import Interface, LinkAddress, Many
from byway.values.written import Node

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound


class TunSection(In):
    """A virtual NIC (TUN), made when Byway starts and gone when it ends. Needs CAP_NET_ADMIN."""

    keeps_strangers_out: ClassVar[bool] = True  # what has no route to it does not come

    type: Literal["tun"]
    listen: ClassVar[tuple[()]] = ()  # type: ignore[misc]
    name: Interface = "byway"
    """The name of the NIC."""
    mtu: Annotated[int, Field(ge=1280, le=65535)] = 65535
    """Its MTU: the longest packet, in bytes."""
    addresses: Annotated[tuple[LinkAddress, ...], Many] = Field(
        default=("198.18.0.1/30", "fd62:7977:6179::1/126"), validate_default=True
    )
    """Its addresses, each with the length of its prefix; one, or a list."""
    answer: Literal["at-once", "after-dial"] = "at-once"
    """When a program's connection is answered: at once, or only after the far side has answered,
    so that a dead host looks dead."""

    @classmethod
    def networks_of(cls, node: Node) -> frozenset[Network]:
        """What it takes."""
        return TCP_AND_UDP

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Nothing in it contradicts another part."""

    @property
    def marks(self) -> bool:
        """Byway's own connections must not come back by it."""
        return True

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The NIC, not made yet."""
        entry = Entry(name, means, guarded=self.guarded)
        nic = Nic(self.name, self.mtu, tuple(self.addresses), self.answer == "after-dial")
        return TunInbound(entry, nic, options)


CARD = Card(TunSection)
