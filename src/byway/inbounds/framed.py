"""A stream that turned out to carry packets, each with its address; and UDP over TCP."""

from __future__ import annotations

from byway.engine import EngineStream, Framing
from byway.flow import Target
from byway.inbounds.arrival import Grant
from byway.inbounds.entry import Entry, Visit
from byway.inbounds.packets import PacketDoor
from byway.interfaces import Carry, Relay, Stream
from byway.ledger.deadline import Deadline
from byway.protocols import uot


class Framed(Visit):
    """Packets in a stream, each target judged for itself, for as long as the stream lives."""

    __slots__ = ("_entry", "_framing", "_source", "_stream", "_user")

    def __init__(
        self,
        stream: Stream,
        framing: Framing | Target,
        entry: Entry,
        source: Target | None,
        user: str | None,
    ) -> None:
        self._stream = stream
        self._framing = framing
        self._entry = entry
        self._source = source
        self._user = user

    async def stay(self, carry: Carry) -> None:
        door = PacketDoor(self._entry, self._user)
        life = door.take(self._stream, self._framing, self._source)
        try:
            await door.serve_while(self._lives(life), carry)
        finally:
            door.close()

    async def _lives(self, life: Relay) -> None:
        reason = await life.wait()
        log, name = self._entry.means.log, self._entry.name
        log.debug("a stream of packets ended", inbound=name, source=self._source, why=reason)


class Asked(Visit):
    """A connection that asked for a host which stands for more than one flow: an `Inner`."""

    __slots__ = ("_asked", "_entry", "_grant", "_patience", "_source", "_stream", "_user")

    def __init__(
        self,
        stream: Stream,
        asked: Target,
        entry: Entry,
        source: Target | None,
        user: str | None,
        grant: Grant | None = None,
    ) -> None:
        self._stream = stream
        self._asked = asked
        self._entry = entry
        self._source = source
        self._user = user
        self._grant = grant
        seconds = entry.means.handshake
        self._patience = Deadline(
            seconds, "the client sent too little before the handshake timeout"
        )

    async def stay(self, carry: Carry) -> None:
        stream = self._stream
        try:
            await self._served(carry)
        finally:
            if isinstance(stream, EngineStream):
                stream.close()

    async def _granted(self) -> None:
        """Tell the client yes, where its protocol has an answer."""
        if self._grant is not None:
            await self._grant()

    async def _served(self, carry: Carry) -> None:
        raise NotImplementedError


class OverTcp(Asked):
    """UDP over TCP on a connection that asked for one of its hosts."""

    __slots__ = ()

    async def _served(self, carry: Carry) -> None:
        with self._patience:
            await self._granted()
            target = await uot.accept(self._stream, self._asked)
        packets = Framed(self._stream, target or "uot", self._entry, self._source, self._user)
        await packets.stay(carry)
