"""Questions over HTTPS (RFC 8484): HTTP/2 where the server speaks it, else HTTP/1.1 kept alive.

Asked with GET and number 0, so that caches on the way can answer and nothing waits for a window.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field

from byway.dns.manner import Manner
from byway.dns.message import LONGEST, Answer, Failed, Question, Wanted, answer, question
from byway.dns.pipe import IDLE, forget
from byway.dns.start import Start
from byway.errors import BywayError, PeerError
from byway.interfaces import Stream
from byway.protocols import http_client
from byway.protocols.http import RequestHead

ALPN = ("h2", "http/1.1")
TYPE = "application/dns-message"
HEAD_LIMIT = 16384
MOST_STREAMS = 100  # at once, where the server allows as many


@dataclass(frozen=True, slots=True)
class Resource:
    """Where questions go: the host and port as the URL has them, and its path."""

    authority: str
    path: str

    def of(self, asked: Question) -> str:
        """The path with a question in it (RFC 8484, section 4.1)."""
        text = base64.urlsafe_b64encode(asked.wire).rstrip(b"=").decode()
        return f"{self.path}{'&' if '?' in self.path else '?'}dns={text}"


class Http1:
    """One connection, one question at a time."""

    def __init__(self, stream: Stream, resource: Resource, manner: Manner | None = None) -> None:
        self._manner = manner or Manner()
        self._stream = stream
        self._resource = resource
        self._fields = (
            (b"Host", resource.authority.encode()),
            (b"Accept", TYPE.encode()),
        )
        self._busy = False
        self._closed = False
        self.heard = 0.0

    @property
    def room(self) -> int:
        """1 when it is free."""
        return 0 if self._closed or self._busy else 1

    @property
    def is_open(self) -> bool:
        """Whether it lives, as far as is known."""
        return not self._closed

    async def ask(self, name: str, family: Wanted) -> Answer:
        """What the server answers. Raises PeerError, OSError, EOFError. A cancel closes it."""
        manner = self._manner
        asked = question(name, family, 0, True, manner.edns, subnet=manner.subnet)
        self._busy, kept = True, False
        try:
            head = RequestHead("GET", self._resource.of(asked), self._fields)
            said = await http_client.ask(self._stream, head, limit=HEAD_LIMIT)
            wire = await http_client.whole(self._stream, said, LONGEST)
            kept = said.keeps
            self.heard = asyncio.get_running_loop().time()
        finally:
            self._busy = False
            if not kept:
                self.close()
        _check(said.status, said.field(b"content-type"))
        return answer(asked, wire)

    def close(self) -> None:
        """Close it."""
        self._closed = True
        self._stream.close()


@dataclass(slots=True)
class _Exchange:
    asked: Question
    told: asyncio.Future[Answer]
    body: bytearray = field(default_factory=bytearray)
    status: int = 0
    kind: str = ""


class Http2:
    """One connection, many questions at once (RFC 9113), by the h2 library."""

    def __init__(
        self, stream: Stream, resource: Resource, start: Start, manner: Manner | None = None
    ) -> None:
        self._manner = manner or Manner()
        import h2.config
        import h2.connection

        self._stream = stream
        self._resource = resource
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        )
        self._h2.initiate_connection()
        self._exchanges: dict[int, _Exchange] = {}
        self._writing = asyncio.Lock()
        self._closed = self._leaving = False
        self.heard = 0.0
        start(self._listen())

    @property
    def room(self) -> int:
        """How many questions it takes now."""
        if self._closed or self._leaving:
            return 0
        most = min(MOST_STREAMS, self._h2.remote_settings.max_concurrent_streams)
        return most - len(self._exchanges)

    @property
    def is_open(self) -> bool:
        """Whether it takes questions now or later."""
        return not self._closed and not self._leaving

    async def ask(self, name: str, family: Wanted) -> Answer:
        """What the server answers. Raises PeerError, OSError, EOFError. A cancel harms no other."""
        from h2.exceptions import H2Error

        if not self.is_open:
            raise EOFError("the server closed the connection")
        manner = self._manner
        asked = question(name, family, 0, True, manner.edns, subnet=manner.subnet)
        told: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        number = None
        try:
            number = self._h2.get_next_available_stream_id()
            self._exchanges[number] = _Exchange(asked, told)
            headers = [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", self._resource.authority),
                (":path", self._resource.of(asked)),
                ("accept", TYPE),
            ]
            self._h2.send_headers(number, headers, end_stream=True)
            await self._flush()
            return await told
        except H2Error as error:
            self.close()
            raise PeerError(f"HTTP/2 error: {error}") from error
        finally:
            if number is not None:
                self._exchanges.pop(number, None)
            forget(told)

    def close(self) -> None:
        """Close it; who waits for an answer is told."""
        self._end(EOFError("the connection was closed"))

    async def _flush(self) -> None:
        async with self._writing:
            data = self._h2.data_to_send()
            if data and not self._closed:
                try:
                    await self._stream.write(data)
                except BaseException:
                    self.close()  # half a frame is on it
                    raise

    async def _listen(self) -> None:
        from h2.exceptions import H2Error

        why: BaseException = EOFError("the connection was closed")
        try:
            await self._flush()
            while not self._closed:
                async with asyncio.timeout(IDLE):
                    data = await self._stream.read()
                self.heard = asyncio.get_running_loop().time()
                for event in self._h2.receive_data(data):
                    self._take(event)
                await self._flush()
                if self._leaving and not self._exchanges:
                    break
        except H2Error as error:
            why = PeerError(f"HTTP/2 error: {error}")
        except (EOFError, OSError, BywayError) as error:
            why = error
        finally:
            self._end(why)

    def _take(self, event: object) -> None:
        from h2 import events

        match event:
            case events.ResponseReceived():
                if (exchange := self._exchanges.get(event.stream_id)) is not None:
                    told = {str(name): str(value) for name, value in event.headers}
                    status = told.get(":status", "")
                    exchange.status = int(status) if status.isdigit() else 0
                    exchange.kind = told.get("content-type", "")
            case events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                exchange = self._exchanges.get(event.stream_id)
                if exchange is not None and len(exchange.body) <= LONGEST:
                    exchange.body += event.data
            case events.StreamEnded():
                if (exchange := self._exchanges.get(event.stream_id)) is not None:
                    _settle(exchange)
            case events.StreamReset():
                exchange = self._exchanges.get(event.stream_id)
                if exchange is not None and not exchange.told.done():
                    exchange.told.set_exception(EOFError("the server reset the stream"))
            case events.ConnectionTerminated():
                self._leaving = True

    def _end(self, why: BaseException) -> None:
        if self._closed:
            return
        self._closed = True
        self._stream.close()
        for exchange in self._exchanges.values():
            if not exchange.told.done():
                text = f"the connection ended: {why or type(why).__name__}"
                exchange.told.set_exception(EOFError(text))


def _settle(exchange: _Exchange) -> None:
    if exchange.told.done():
        return
    try:
        _check(exchange.status, exchange.kind)
        exchange.told.set_result(answer(exchange.asked, bytes(exchange.body[: LONGEST + 1])))
    except PeerError as error:
        exchange.told.set_exception(error)


def _check(status: int, kind: str) -> None:
    if status != 200:
        raise Failed(f"the server answers with HTTP status {status}")
    if kind.partition(";")[0].strip().lower() != TYPE:
        raise Failed("the server's response is not a DNS message")
