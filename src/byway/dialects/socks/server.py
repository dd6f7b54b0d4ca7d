"""SOCKS 4, 4a and 5: CONNECT, BIND and UDP ASSOCIATE (RFC 1928)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from functools import partial

from byway.engine import EngineStream
from byway.errors import EngineError, PeerError, Reason, Refused, reason_of
from byway.flow import Dial, Flow, Network, Target
from byway.inbounds.arrival import Connection, Deny, refuse
from byway.inbounds.entry import Entry, Means, Met, Visit
from byway.inbounds.inner import inner
from byway.inbounds.packets import PacketDoor
from byway.interfaces import Binding, Bucket, Carry, Enough, Relay, Stream, Way
from byway.protocols import socks

PEER_WAIT = 120.0  # seconds a lent port waits for its peer; FTP servers connect within moments


class Socks:
    """Greets SOCKS clients."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    async def greet(self, stream: EngineStream, begun: bytes = b"") -> Met:
        """Read the client's request. When it raises, the client has its refusal already."""
        entry = self._entry
        request = await socks.accept(stream, entry.verify, begun)
        source = stream.source
        if request.command is socks.Command.ASSOCIATE:
            return _Association(stream, request, source, entry)
        if request.command is socks.Command.CONNECT:
            inside = inner(entry, request.target)
            if inside is not None:
                granted = partial(socks.grant, stream, request)
                return inside(stream, request.target, entry, source, request.user, granted)
        flow = entry.flow(Network.TCP, source, request.target, request.user, stream.info.local)
        deny = partial(socks.deny, stream, request)
        if request.command is socks.Command.CONNECT:
            grant = partial(socks.grant, stream, request)
            return Connection(stream, flow, entry.means, grant, deny)
        return _Bind(stream, request, flow, entry.means, deny)


def expected(declared: Target, source: Target) -> Target:
    """Where the packets of an association come from (RFC 1928 section 7): the client's address, and
    the port that it declared. Port zero stands for its first one: of a client that does not know
    its port yet, or means another address than we see, whose port we do not see either."""
    known = declared.packed is None or not any(declared.packed) or declared.packed == source.packed
    return Target(source.host, declared.port if known else 0, source.packed)


class _Bind(Visit):
    """BIND: granted twice, with the lent address and then with the peer that came."""

    __slots__ = ("_deny", "_means", "_request", "_stream", "flow")

    def __init__(
        self, stream: EngineStream, request: socks.Request, flow: Flow, means: Means, deny: Deny
    ) -> None:
        self.flow = flow
        self._stream = stream
        self._request = request
        self._means = means
        self._deny = deny

    async def stay(self, carry: Carry) -> None:
        await carry(self)

    async def hear(self, enough: Enough, within: float) -> None:
        """Nothing: who lends a port is not supported to before the peer comes."""

    def dial(self, way: Way) -> Coroutine[None, None, Binding]:
        flow = self.flow
        return way.bind(Dial(flow.target, self._stream.home, flow.guarded))

    async def relay(self, far: Binding, buckets: Sequence[Bucket]) -> Relay:
        try:
            await socks.grant(self._stream, self._request, self._reachable(far.address))
            stream, peer = await self._peer(far)
        except BaseException:
            far.close()
            raise
        await socks.grant(self._stream, self._request, peer)
        return self._means.engine.relay(self._stream, stream, self._means.idle, buckets)

    async def refuse(self, why: BaseException | None) -> None:
        await refuse(self._stream, self._means, self._deny, why)

    def _reachable(self, address: Target) -> Target:
        """The lent address, with the one the client reached us by in place of all zero."""
        local = self._stream.info.local
        if address.packed is not None and not any(address.packed) and local is not None:
            return Target(local.host, address.port, local.packed)
        return address

    async def _peer(self, binding: Binding) -> tuple[Stream, Target]:
        """Wait for the peer, as long as the client does."""
        accepting = asyncio.ensure_future(binding.accept())
        leaving = asyncio.ensure_future(self._stream.peek(1, PEER_WAIT))
        try:
            await asyncio.wait((accepting, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not accepting.done():
                if leaving.exception() is not None or not leaving.result():
                    raise PeerError(
                        f"no peer connected within {PEER_WAIT:.0f} s, or the client disconnected"
                    )
                async with asyncio.timeout(PEER_WAIT):  # it spoke early, and still waits
                    await accepting
            return accepting.result()
        finally:
            for task in (accepting, leaving):
                task.cancel()
            await asyncio.gather(accepting, leaving, return_exceptions=True)


class _Association(Visit):
    """UDP ASSOCIATE: packets of this client alone, for as long as its control stream lives."""

    __slots__ = ("_entry", "_request", "_source", "_stream")

    def __init__(
        self, stream: EngineStream, request: socks.Request, source: Target | None, entry: Entry
    ) -> None:
        self._stream = stream
        self._request = request
        self._source = source
        self._entry = entry

    async def stay(self, carry: Carry) -> None:
        local = self._stream.info.local
        if self._source is None or local is None:
            await socks.deny(self._stream, self._request, Reason.NOT_SUPPORTED)
            raise Refused("a client on a unix socket cannot send packets", Reason.NOT_SUPPORTED)
        door = PacketDoor(self._entry, self._request.user)
        room = self._entry.means.room
        try:
            room.enter()  # its own socket, and the one of its targets
        except Refused as full:
            await socks.deny(self._stream, self._request, full.reason)
            raise
        try:
            await self._served(door, Target(local.host, 0, local.packed), self._source, carry)
        finally:
            room.leave()

    async def _served(self, door: PacketDoor, here: Target, source: Target, carry: Carry) -> None:
        try:
            only = expected(self._request.target, source)
            address = door.open(here, "socks5", only)
        except OSError as error:
            await socks.deny(self._stream, self._request, reason_of(error))
            raise
        try:
            await socks.grant(self._stream, self._request, address)
            await door.serve_while(self._control_lives(), carry)
        finally:
            door.close()

    async def _control_lives(self) -> None:
        with contextlib.suppress(OSError, EOFError, EngineError):
            while True:
                await self._stream.read()  # nothing is said here any more; what is, is ignored
