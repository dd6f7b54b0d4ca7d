"""The way out that leads to Byway's own answers: whatever address is asked, it answers as that."""

from __future__ import annotations

from byway.dns.served import Answers, serve_packets, serve_stream
from byway.engine import Engine
from byway.errors import Reason, Refused
from byway.flow import TCP_AND_UDP, Dial, Flow, Step, Target
from byway.interfaces import Binding, Datagrams, Stream
from byway.outbounds.over import Single


class DnsOut:
    """An outbound whose far end is in this process. Each flow has a way of its own, since who asks
    counts for the answer."""

    networks = TCP_AND_UDP
    is_local = True
    only = None

    def __init__(self, name: str, engine: Engine, answers: Answers) -> None:
        self.name = name
        self.chain = (name,)
        self._engine = engine
        self._answers = answers

    def ways(self, flow: Flow, steps: list[Step] | None = None, peek: bool = False) -> tuple[_Way]:
        """One."""
        return (_Way(self.chain, self._engine, self._answers, flow),)


class _Way(Single):
    """For the queries of one flow; those of a packet session share what its first one opened."""

    __slots__ = ("_answers", "_engine", "_flow", "chain")

    is_local = True
    networks = TCP_AND_UDP

    def __init__(
        self, chain: tuple[str, ...], engine: Engine, answers: Answers, flow: Flow
    ) -> None:
        self.chain = chain
        self._engine = engine
        self._answers = answers
        self._flow = flow

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Way)
            and self._answers is other._answers
            and self._flow.source == other._flow.source
            and self._flow.inbound == other._flow.inbound
        )

    def __hash__(self) -> int:
        return hash((id(self._answers), self._flow.source, self._flow.inbound))

    async def connect(self, dial: Dial) -> Stream:
        """A stream to whoever answers."""
        near, far = self._engine.pair()
        self._answers.start(serve_stream(far, self._flow, self._answers))
        return near

    async def associate(self, dial: Dial) -> Datagrams:
        """Packets to whoever answers."""
        near, far = self._engine.pair()
        self._answers.start(serve_packets(far, self._flow, self._answers))
        return self._engine.framed(near, "addressed", b"")

    async def locate(self, dial: Dial) -> Target:
        """As it was asked: so it is answered."""
        return dial.target

    async def bind(self, dial: Dial) -> Binding:
        """Nobody calls from here."""
        raise Refused("no port is lent for answers", Reason.NOT_SUPPORTED)
