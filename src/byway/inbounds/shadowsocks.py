"""A shadowsocks server. Who is not a client of ours gets silence."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Protocol

from byway.engine import EngineStream
from byway.flow import Flow, Network
from byway.inbounds.entry import Entry, Means, Met, Visit
from byway.inbounds.framed import OverTcp
from byway.inbounds.hearing import overhear
from byway.inbounds.silence import greeted
from byway.interfaces import Bucket, Carry, Enough, Outbound, Relay, Stream
from byway.protocols import uot
from byway.protocols.shadowsocks import Request


class Server(Protocol):
    """The server's end of one edition."""

    async def accept(self, stream: Stream) -> Request: ...


class Shadowsocks:
    """Greets shadowsocks clients. `relayed` is for flows of those whom the next server serves."""

    def __init__(self, entry: Entry, server: Server, relayed: Entry | None = None) -> None:
        self.entry = entry
        self.relayed = relayed or entry
        self.server = server

    async def greet(self, stream: EngineStream) -> Met:
        """A visit: how long a greeting may take is told by its own clock."""
        return _Knock(stream, self)


class _Knock(Visit):
    """A connection that has not shown yet that it is a client's."""

    __slots__ = ("_door", "_stream")

    def __init__(self, stream: EngineStream, door: Shadowsocks) -> None:
        self._stream = stream
        self._door = door

    async def stay(self, carry: Carry) -> None:
        door, source = self._door, self._stream.source
        accepting = door.server.accept(self._stream)
        request = await greeted(self._stream, accepting, door.entry.means.handshake)
        entry = door.relayed if request.relayed else door.entry
        if uot.is_asked(request.target) and not request.relayed:
            visit = OverTcp(request.stream, request.target, entry, source, request.user)
            await visit.stay(carry)
            return
        flow = entry.flow(Network.TCP, source, request.target, request.user)
        await carry(Asked(request.stream, flow, entry.means))


class Asked:
    """A flow of a protocol without answers: yes is the far side's bytes, no is a close."""

    __slots__ = ("_means", "_stream", "flow")

    def __init__(self, stream: Stream, flow: Flow, means: Means) -> None:
        self.flow = flow
        self._stream = stream
        self._means = means

    async def hear(self, enough: Enough, within: float) -> None:
        await overhear(self._stream, enough, within)

    def dial(self, outbound: Outbound) -> Coroutine[None, None, Stream]:
        return outbound.connect(self.flow.target)

    async def relay(self, far: Stream, buckets: Sequence[Bucket]) -> Relay:
        return self._means.engine.relay(self._stream, far, self._means.idle, buckets)

    async def refuse(self, why: BaseException | None) -> None:
        if why is None:
            await self._means.silence.hold(self._stream)
        elif isinstance(self._stream, EngineStream):
            self._stream.abort()  # a reset says more than an end that looks like an empty answer
        self._stream.close()
