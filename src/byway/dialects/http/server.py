"""An HTTP proxy: CONNECT here, plain requests in `forwarding`."""

from __future__ import annotations

from functools import partial

from byway.dialects.http.forwarding import Conversation
from byway.engine import EngineStream
from byway.errors import Reason, Refused
from byway.flow import Network
from byway.inbounds.arrival import Connection
from byway.inbounds.entry import Entry, Met, Visit
from byway.inbounds.farewell import farewell
from byway.inbounds.inner import inner
from byway.interfaces import Arrival, Carry, Stream
from byway.ledger.deadline import Deadline
from byway.protocols import http
from byway.protocols.web_address import is_own_place

PAC = "/proxy.pac"


class Http:
    """Greets HTTP clients."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        limit = entry.means.head
        self._strangers_limit = min(limit, http.STRANGERS_LIMIT) if entry.verify else limit
        self._patience = Deadline(entry.means.handshake, "no next request arrived in time")

    async def greet(self, stream: EngineStream, begun: bytes = b"") -> Met:
        """Read the client's request. When it raises, the client has its refusal already."""
        try:
            request = await self._request(stream, begun, self._strangers_limit)
        except http.Answered:
            return _Served(stream)
        if request.is_connect:
            inside = inner(self._entry, request.target)
            if inside is not None:
                source, granted = stream.source, partial(http.grant, stream, request)
                return inside(stream, request.target, self._entry, source, request.user, granted)
            return self._tunnel(stream, request)
        return Conversation(stream, request, self._entry, self._next, self._tunnel)

    async def _request(self, stream: EngineStream, begun: bytes, limit: int) -> http.Request:
        try:
            entry = self._entry
            own = partial(self._page, stream)
            return await http.accept(stream, entry.verify, limit, begun, own)
        except (http.HeadError, Refused):
            await farewell(stream)
            raise

    def _page(self, stream: EngineStream, head: http.RequestHead) -> bytes | None:
        """The PAC file, for a browser itself and not for a page in it, which might read the rules
        as a script of its own (Fetch Metadata: a browser's own requests come from nowhere), or as
        its own page, whose name leads here."""
        pac, local = self._entry.means.pac, stream.info.local
        if pac is None or local is None or (head.method, head.uri) != ("GET", PAC):
            return None
        hosts = http.values(head.fields, b"host")
        if len(hosts) != 1 or not is_own_place(hosts[0].decode("latin-1")):
            return None
        if any(site != b"none" for site in http.values(head.fields, b"sec-fetch-site")):
            return None
        body = pac(self._entry.name, local).encode()
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ns-proxy-autoconfig\r\n"
            b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n%b"
        ) % (len(body), body)

    async def _next(self, stream: EngineStream) -> http.Request:
        with self._patience:
            return await self._request(stream, b"", self._entry.means.head)

    def _tunnel(self, stream: EngineStream, request: http.Request) -> Arrival[Stream]:
        entry = self._entry
        flow = entry.flow(
            Network.TCP, stream.source, request.target, request.user, stream.info.local
        )
        grant, deny = partial(http.grant, stream, request), partial(_deny, stream, request)
        return Connection(stream, flow, entry.means, grant, deny)


class _Served(Visit):
    """A client that has had its page."""

    __slots__ = ("_stream",)

    def __init__(self, stream: EngineStream) -> None:
        self._stream = stream

    async def stay(self, carry: Carry) -> None:
        await farewell(self._stream)


async def _deny(stream: EngineStream, request: http.Request, reason: Reason) -> None:
    try:
        await http.deny(stream, request, reason)
    finally:
        await farewell(stream)
