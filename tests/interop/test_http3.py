"""HTTP/3 by way of SOCKS UDP: aioquic at both ends, its packets through UDP ASSOCIATE."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent

from tests.interop.conftest import Certificate
from tests.interop.origin import content
from tests.interop.socks_client import Place, UdpSocket, unwrapped, wrapped

SIZE = 1_500_000


class Http3Server(QuicConnectionProtocol):
    """Answers every request with the body it asks for, and hashes what it is sent."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.http: H3Connection | None = None
        self.sent = hashlib.sha256()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Feed HTTP/3, answer what is complete."""
        if self.http is None:
            self.http = H3Connection(self._quic)
        for found in self.http.handle_event(event):
            if isinstance(found, DataReceived):
                self.sent.update(found.data)
            if isinstance(found, HeadersReceived | DataReceived) and found.stream_ended:
                head = [(b":status", b"200"), (b"x-sha256", self.sent.hexdigest().encode())]
                self.http.send_headers(found.stream_id, head)
                self.http.send_data(found.stream_id, content(SIZE), end_stream=True)
                self.transmit()


class Http3Client(QuicConnectionProtocol):
    """One request and its answer."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.http = H3Connection(self._quic)
        self.head: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.done = asyncio.get_running_loop().create_future()

    async def post(self, authority: str, body: bytes) -> bytes:
        """Send `body`, return the answer's."""
        stream = self._quic.get_next_available_stream_id()
        head = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", authority.encode()),
            (b":path", b"/"),
        ]
        self.http.send_headers(stream, head)
        self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        await self.done
        return bytes(self.body)

    def quic_event_received(self, event: QuicEvent) -> None:
        """Collect the answer."""
        for found in self.http.handle_event(event):
            self._collect(found)

    def _collect(self, found: H3Event) -> None:
        if isinstance(found, HeadersReceived):
            self.head.update(dict(found.headers))
        if isinstance(found, DataReceived):
            self.body += found.data
        if isinstance(found, HeadersReceived | DataReceived) and found.stream_ended:
            self.done.set_result(None)


class Through(asyncio.DatagramProtocol, asyncio.DatagramTransport):
    """Stands between QUIC and the socket: each packet gets, and loses, the SOCKS UDP header."""

    def __init__(self, quic: Http3Client) -> None:
        super().__init__()
        self.quic = quic
        self.inner: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there: QUIC sees this object as its transport."""
        self.inner = cast(asyncio.DatagramTransport, transport)
        self.quic.connection_made(self)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """A packet from the relay."""
        payload, sender = unwrapped(data)
        self.quic.datagram_received(payload, sender)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """A packet to the relay."""
        assert self.inner is not None
        self.inner.sendto(wrapped(bytes(data), addr[:2]))

    def close(self) -> None:
        """QUIC is done."""
        assert self.inner is not None
        self.inner.close()

    def is_closing(self) -> bool:
        """Whether the socket is closed."""
        return self.inner is None or self.inner.is_closing()


@asynccontextmanager
async def http3_server(certificate: Certificate) -> AsyncIterator[int]:
    """A real HTTP/3 server on a free port of loopback."""
    settings = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    settings.load_cert_chain(certificate.chain, certificate.key)
    server: QuicServer = await serve(
        "127.0.0.1", 0, configuration=settings, create_protocol=Http3Server
    )
    try:
        yield int(cast(Any, server)._transport.get_extra_info("sockname")[1])
    finally:
        server.close()


async def test_http3_each_way(port: int, certificate: Certificate) -> None:
    loop = asyncio.get_running_loop()
    async with http3_server(certificate) as server:
        with await asyncio.to_thread(UdpSocket, ("127.0.0.1", port)) as socks:
            await _exchange(loop, socks, ("127.0.0.1", server), certificate)


async def _exchange(
    loop: asyncio.AbstractEventLoop, socks: UdpSocket, server: Place, certificate: Certificate
) -> None:
    settings = QuicConfiguration(
        is_client=True,
        alpn_protocols=H3_ALPN,
        server_name="localhost",
        cafile=str(certificate.chain),
        verify_mode=ssl.CERT_REQUIRED,
    )
    client = Http3Client(QuicConnection(configuration=settings))
    socks.packets.connect(socks.relay)
    socks.packets.setblocking(False)
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Through(client), sock=socks.packets.dup()
    )
    try:
        client.connect(server)
        await client.wait_connected()
        async with asyncio.timeout(30):
            answer = await client.post("localhost", content(300_000))
        assert answer == content(SIZE)
        assert client.head[b"x-sha256"].decode() == hashlib.sha256(content(300_000)).hexdigest()
        client.close()
        await client.wait_closed()
    finally:
        transport.close()
