"""Plain HTTP requests through the proxy: each is judged for itself, connections are kept.

A `Conversation` is a client's connection; each request on it is an `Exchange`, which is the
arrival and, once dialled, its own relay: heads are rewritten here, bodies move in the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from byway.engine import Body, Engine, EngineStream, Meter
from byway.errors import EngineError, PeerError, Reason, Refused, in_words, reason_of
from byway.flow import Dial, Flow, Network
from byway.inbounds.entry import Entry, Visit
from byway.inbounds.farewell import farewell
from byway.interfaces import Arrival, Bucket, Carry, Enough, Relay, Stream, Way
from byway.protocols import http, http_forward

KEEP = 75.0  # seconds a client may think between two requests; browsers close after about that
MOST_KEPT = 8  # origins' connections kept for one client's
MOST_INTERIM = 16  # 1xx responses before the real one
LOOK = 15.0  # seconds between two looks at whether the client still waits for its answer
GRACE = 1.0  # seconds for an answer of an origin that stopped reading the request

NextRequest = Callable[[EngineStream], Awaitable[http.Request]]
Tunnel = Callable[[EngineStream, http.Request], Arrival[Stream]]


class Conversation(Visit):
    """A client's connection and the requests on it, one after the other."""

    __slots__ = ("_entry", "_first", "_next", "_tunnel", "kept", "stream")

    def __init__(
        self,
        stream: EngineStream,
        first: http.Request,
        entry: Entry,
        following: NextRequest,
        tunnel: Tunnel,
    ) -> None:
        self.stream = stream
        self.kept: dict[tuple[Way, str], Stream] = {}
        self._first = first
        self._entry = entry
        self._next = following
        self._tunnel = tunnel

    async def stay(self, carry: Carry) -> None:
        """Serve requests until a side closes. Where it raises, the client has its refusal."""
        source = self.stream.source
        request: http.Request | None = self._first
        try:
            while request is not None:
                if request.is_connect:
                    await carry(self._tunnel(self.stream, request))
                    return
                outgoing = await self._checked(request)
                flow = self._entry.flow(
                    Network.TCP, source, request.target, request.user, self.stream.info.local
                )
                exchange = Exchange(self, self._entry, request, outgoing, flow)
                await carry(exchange)
                request = await self._following() if exchange.keep else None
        finally:
            for far in self.kept.values():
                self._entry.means.room.take(far)
                far.close()
        await farewell(self.stream)

    async def _checked(self, request: http.Request) -> http_forward.Outgoing:
        try:
            return http_forward.outgoing(request)
        except http.HeadError as error:
            bodiless = request.head.method == "HEAD"
            await self.stream.write(http.answer(error.status, str(error), bodiless=bodiless))
            await farewell(self.stream)
            raise

    async def _following(self) -> http.Request | None:
        """The next request, or None where the client leaves or keeps silent."""
        try:
            if not await self.stream.peek(1, KEEP):
                return None
        except (EOFError, OSError):
            return None
        return await self._next(self.stream)


class Exchange:
    """One request and its response: an arrival, and then the relay of itself."""

    __slots__ = (
        "_answered", "_begun", "_buckets", "_cut", "_engine", "_entry", "_far", "_far_key",
        "_heads_down", "_heads_up", "_near", "_outgoing", "_received", "_request", "_reused",
        "_sent", "_talk", "_tunnel", "_whole", "flow", "keep",
    )  # fmt: skip

    def __init__(
        self,
        talk: Conversation,
        entry: Entry,
        request: http.Request,
        outgoing: http_forward.Outgoing,
        flow: Flow,
    ) -> None:
        self.flow = flow
        self.keep = False
        self._heads_up = self._heads_down = 0
        self._buckets: Sequence[Bucket] = ()
        self._sent, self._received = Meter(), Meter()
        self._talk = talk
        self._entry = entry
        self._engine: Engine = entry.means.engine
        self._request = request
        self._outgoing = outgoing
        self._near = talk.stream
        self._far: Stream | None = None
        self._far_key: tuple[Way, str] | None = None
        self._reused = False
        self._answered = False  # the client has something, if only a 1xx
        self._begun = self._whole = False  # the response proper, with the client
        self._tunnel: Relay | None = None
        self._cut = ""

    # The arrival.

    async def hear(self, enough: Enough, within: float) -> None:
        """The head is there already."""
        enough((self._outgoing.head,))

    async def dial(self, way: Way) -> Stream:
        """A kept connection where there is a live one, else a new one."""
        key = self._far_key = (way, str(self.flow.target))
        far = self._talk.kept.pop(key, None)
        if far is not None:
            self._entry.means.room.take(far)
            if await _is_quiet(far):
                self._reused = True
                return far
            far.close()
        return await way.connect(self._dialled)

    async def relay(self, far: Stream, buckets: Sequence[Bucket]) -> Relay:
        self._far = far
        self._buckets = buckets
        return self

    async def refuse(self, why: BaseException | None) -> None:
        self.keep = False
        if why is None:
            await self._entry.means.silence.hold(self._near)
        elif not self._begun:
            with contextlib.suppress(OSError, EOFError, EngineError):
                if isinstance(why, http.HeadError):
                    bodiless = self._request.head.method == "HEAD"
                    await self._near.write(http.answer(why.status, str(why), bodiless=bodiless))
                else:
                    await http.deny(self._near, self._request, reason_of(why))
            await farewell(self._near)
        self._near.close()

    # The relay.

    @property
    def up(self) -> int:
        """Bytes sent to the server so far, heads included."""
        tunnelled = self._tunnel.up if self._tunnel is not None else 0
        return self._heads_up + self._sent.count + tunnelled

    @property
    def down(self) -> int:
        """Bytes sent to the client so far, heads included."""
        tunnelled = self._tunnel.down if self._tunnel is not None else 0
        return self._heads_down + self._received.count + tunnelled

    async def wait(self) -> str:
        """The exchange. Whatever ends a response before its end, a cancel too, resets the client's
        connection: only so is it seen that what came is not the whole (RFC 9112 section 8)."""
        kept = False
        try:
            reason, kept = await self._tried()
        except (OSError, EOFError, PeerError, EngineError):
            if not self._cut:
                raise
            reason = self._cut
        except Refused as error:
            if not any(bucket.spent for bucket in self._buckets):
                raise
            reason = in_words(error)
            if not self._begun:
                raise Refused(reason, Reason.LIMIT) from error
        finally:
            if not kept and self._far is not None:
                self._far.close()
            if self._begun and not self._whole:
                self._near.abort()
        return self._cut or reason

    def cut(self, reason: str) -> None:
        self._cut = reason
        self.keep = False
        if self._tunnel is not None:
            self._tunnel.cut(reason)
        elif self._far is not None:
            self._far.close()
            self._near.abort()

    def _count_head(self, head: bytes, rising: bool) -> None:
        if rising:
            self._heads_up += len(head)
        else:
            self._heads_down += len(head)
        for bucket in self._buckets:
            bucket.charge(rising, len(head))

    async def _tried(self) -> tuple[str, bool]:
        """The exchange; a kept connection that turns out dead is replaced once, where it may be."""
        try:
            return await self._exchange()
        except (OSError, EOFError):
            if self._cut or not self._is_repeatable():
                raise
        assert self._far is not None
        assert self._far_key is not None
        self._far.close()
        self._far = await self._again(self._far_key[0])
        return await self._exchange()

    async def _again(self, way: Way) -> Stream:
        """A new connection by the way of the one that turned out dead."""
        try:
            far = await way.connect(self._dialled)
        except BaseException as error:
            way.failed(error)
            raise
        way.worked()
        return far

    @property
    def _dialled(self) -> Dial:
        return Dial(self.flow.target, self._near.home, self.flow.guarded)

    def _is_repeatable(self) -> bool:
        """Whether a second try can help and cannot do harm (RFC 9112 section 9.3.1)."""
        return (
            self._reused
            and not self._answered
            and self._request.head.method in _SAFE
            and self._outgoing.body.is_empty
        )

    async def _exchange(self) -> tuple[str, bool]:
        """The request and its response: how it ended, and whether far was kept."""
        assert self._far is not None
        await self._far.write(self._outgoing.head)
        self._count_head(self._outgoing.head, rising=True)
        if self._outgoing.body.is_empty:
            incoming = await self._response(None)
            return await self._finish(incoming, None)
        sending = asyncio.ensure_future(self._send_body())
        try:
            incoming = await self._response(sending)
            return await self._finish(incoming, sending)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_body(self) -> None:
        assert self._far is not None
        body = _body(self._outgoing.body)
        try:
            await self._engine.send_body(
                self._near,
                self._far,
                body,
                self._entry.means.idle,
                self._sent,
                self._buckets,
                rising=True,
            )
        except PeerError as error:
            raise http.HeadError(400, f"the client sent a broken body: {error}") from error

    async def _response(self, sending: asyncio.Future[None] | None) -> http_forward.Incoming:
        """Pass interim responses on until the real one, whose head is then with the client."""
        for _ in range(MOST_INTERIM):
            head = await self._head(sending)
            incoming = http_forward.incoming(head, self._request, keep_near=self._outgoing.keep)
            self._answered = self._answered or bool(incoming.head)
            self._begun = not incoming.is_interim
            if incoming.head:
                await self._near.write(incoming.head)
                self._count_head(incoming.head, rising=False)
            if not incoming.is_interim:
                return incoming
        raise http.HeadError(502, f"the server sent more than {MOST_INTERIM} interim responses")

    async def _head(self, sending: asyncio.Future[None] | None) -> http.ResponseHead:
        """The next response head. A body that cannot be sent ends the wait for it."""
        assert self._far is not None
        limit, idle = self._entry.means.head, self._entry.means.idle
        if sending is None or sending.done():
            head = asyncio.ensure_future(http.read_response(self._far, limit))
            return await self._awaited(head, idle)
        reading = asyncio.ensure_future(http.read_response(self._far, limit))
        try:
            await asyncio.wait((reading, sending), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            if (error := sending.exception()) is not None and not isinstance(error, OSError):
                raise error  # the client's fault; the server waits for more in vain
            return await self._awaited(reading, idle if error is None else GRACE)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _awaited(
        self, reading: asyncio.Future[http.ResponseHead], within: float
    ) -> http.ResponseHead:
        """A head that is being read. Raises TimeoutError, and ConnectionResetError when the client
        has broken off meanwhile: it would not be heard, since nothing is read from it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        try:
            while not reading.done():
                if (left := until - loop.time()) <= 0:
                    raise TimeoutError
                await asyncio.wait((reading,), timeout=min(left, LOOK))
                if not reading.done() and self._near.broken:
                    raise ConnectionResetError(
                        "the client closed the connection in the middle of a request"
                    )
            return reading.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _finish(
        self, incoming: http_forward.Incoming, sending: asyncio.Future[None] | None
    ) -> tuple[str, bool]:
        """Move the response's body; keep both connections where that can be."""
        assert self._far is not None
        if incoming.is_switched:
            return await self._switched(), True
        if not incoming.body.is_empty:
            body = _body(incoming.body)
            await self._engine.send_body(
                self._far,
                self._near,
                body,
                self._entry.means.idle,
                self._received,
                self._buckets,
            )
        self._whole = True
        if sending is not None:
            await asyncio.wait((sending,), timeout=GRACE)
            if not sending.done() or sending.exception() is not None:
                return "the server answered before the end of the request", False
        self.keep = incoming.keep_near
        if incoming.keep_far and incoming.keep_near and self._far_key is not None:
            kept, room = self._talk.kept, self._entry.means.room
            if len(kept) >= MOST_KEPT:
                oldest = kept.pop(next(iter(kept)))
                room.take(oldest)
                oldest.close()
            kept[self._far_key] = self._far
            room.keep(self._far)
            return "done", True
        return "done", False

    async def _switched(self) -> str:
        """The protocol was switched (101): from here on it is a tunnel."""
        assert self._far is not None
        idle = self._entry.means.idle
        tunnel = self._engine.relay(self._near, self._far, idle, self._buckets)
        self._tunnel = tunnel
        self._whole = True  # whatever ends it from here on, the relay passes it on
        return await tunnel.wait()


async def _is_quiet(far: Stream) -> bool:
    """Whether a kept connection is still open and has nothing to say unasked."""
    reading = asyncio.ensure_future(far.read(1))
    await asyncio.sleep(0)
    quiet = not reading.done()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    return quiet


def _body(body: http.BodyLength) -> Body:
    return Body(body.length, body.chunked, body.dechunk, body.without)


_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
