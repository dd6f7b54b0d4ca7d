"""Byway as a DNS server: an inbound for clients, and an outbound for flows that were sent to
others (hijacked)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from byway.dialects.card import Card, Lent, Out, Theirs, Written
from byway.dialects.login import Open
from byway.dns.served import serve_stream
from byway.flow import TCP_AND_UDP, Flow, Network
from byway.inbounds.dns import DnsInbound as Server
from byway.inbounds.entry import Entry
from byway.interfaces import Outbound, Stream
from byway.outbounds.dns import DnsOut
from byway.outbounds.reach import Layer
from byway.values.foreign import Foreign
from byway.values.written import Node

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound


class DnsInbound(Open):
    """A DNS server, over UDP and TCP, which answers as `dns` says."""

    answers: ClassVar[bool] = True

    type: Literal["dns"]

    @classmethod
    def networks_of(cls, node: Node) -> frozenset[Network]:
        """Both."""
        return TCP_AND_UDP

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The listeners, not open yet."""
        answers = lent.answers
        assert answers is not None
        out = DnsOut(name, lent.engine, answers)

        async def served(stream: Stream, flow: Flow) -> None:
            await serve_stream(stream, flow, answers)

        return Server(Entry(name, means), self.places(), served, out.ways, options)


class DnsOutbound(Out):
    """Answer the queries of a flow in place of the server that it was sent to, as `dns` says."""

    type: Literal["dns"]

    @property
    def answers(self) -> bool:
        """Whether it answers queries by `dns`."""
        return True

    def outbound(
        self, name: str, via: Outbound | None, lent: Lent, noted: Layer | None
    ) -> Outbound:
        """The answers of this process."""
        assert lent.answers is not None
        return DnsOut(name, lent.engine, lent.answers)


def _written(entry: Foreign) -> Written:
    return {"type": "dns"}


CARD = Card(
    DnsInbound,
    DnsOutbound,
    clash=Theirs(leaving={"dns": _written}),
    sing_box=Theirs(leaving={"dns": _written}),
)
