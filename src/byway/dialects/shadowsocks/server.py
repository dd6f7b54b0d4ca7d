"""A shadowsocks server. A peer that cannot authenticate gets silence."""

from __future__ import annotations

from typing import Protocol

from byway.engine import EngineStream
from byway.flow import Network
from byway.inbounds.arrival import Connection
from byway.inbounds.entry import Entry, Met, Visit
from byway.inbounds.inner import inner
from byway.inbounds.silence import greeted
from byway.interfaces import Carry, Stream
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
        inside = None if request.relayed else inner(entry, request.target)
        if inside is not None:
            visit = inside(request.stream, request.target, entry, source, request.user)
            await visit.stay(carry)
            return
        flow = entry.flow(Network.TCP, source, request.target, request.user)
        await carry(Connection(request.stream, flow, entry.means))
