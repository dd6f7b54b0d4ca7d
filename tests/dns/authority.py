"""A name server to be told what to say, on loopback: packets, TCP, DoT and DoH (HTTP/1.1).

What it says is a function of the question; it counts what it was asked.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Says = Callable[["Asked"], Sequence[bytes]]
"""The messages that answer a question; none: silence."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, as it came, and by which way (udp, tcp, tls, https)."""

    wire: bytes
    way: str

    @property
    def message(self) -> dns.message.Message:
        """The whole query."""
        return dns.message.from_wire(self.wire)

    @property
    def name(self) -> str:
        """The name asked for."""
        return self.message.question[0].name.to_text(omit_final_dot=True)

    @property
    def kind(self) -> str:
        """A or AAAA."""
        return dns.rdatatype.to_text(self.message.question[0].rdtype)

    def reply(
        self,
        *addresses: str,
        ttl: int = 60,
        code: dns.rcode.Rcode = dns.rcode.NOERROR,
        records: Sequence[str] = (),
        authority: Sequence[str] = (),
        cut: bool = False,
    ) -> bytes:
        """An answer with these addresses (of the family asked for) and records."""
        response = dns.message.make_response(self.message)
        response.set_rcode(code)
        kind = self.kind
        fit = [one for one in addresses if (":" in one) == (kind == "AAAA")]
        if fit:
            question = self.message.question[0]
            response.answer.append(dns.rrset.from_text(question.name, ttl, "IN", kind, *fit))
        for section, texts in ((response.answer, records), (response.authority, authority)):
            for text in texts:
                name, life, klass, of, data = text.split(maxsplit=4)
                section.append(dns.rrset.from_text(name, int(life), klass, of, data))
        if cut:
            response.flags |= dns.flags.TC
            response.answer.clear()
        return response.to_wire(max_size=65535)


@dataclass(slots=True)
class Authority:
    """A running one: where it answers, what it says now, what it was asked, and connections."""

    says: Says
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    tls: int = 0
    https: int = 0
    connections: int = 0

    def hear(self, wire: bytes, way: str) -> Sequence[bytes]:
        """Note a question, and answer it."""
        asked = Asked(wire, way)
        self.asked.append(asked)
        return self.says(asked)

    def count(self, name: str) -> int:
        """How often a name was asked for."""
        return sum(asked.name == name for asked in self.asked)


class _Packets(asyncio.DatagramProtocol):
    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for wire in self._authority.hear(data, "udp"):
            self._transport.sendto(wire, addr)


@asynccontextmanager
async def serving(says: Says, folder: Path | None = None) -> AsyncIterator[Authority]:
    """Serve; with a folder that has `chain.pem` and `key.pem` also inside TLS."""
    authority = Authority(says)
    loop = asyncio.get_running_loop()

    def stream(way: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            authority.connections += 1
            try:
                while True:
                    if way == "https":
                        await _page(authority, reader, writer)
                    else:
                        size = int.from_bytes(await reader.readexactly(2))
                        wire = await reader.readexactly(size)
                        for said in authority.hear(wire, way):
                            writer.write(len(said).to_bytes(2) + said)
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                pass
            finally:
                writer.close()

        return talk

    plain = await asyncio.start_server(stream("tcp"), "127.0.0.1", 0)
    servers = [plain]
    authority.port = plain.sockets[0].getsockname()[1]
    address = ("127.0.0.1", authority.port)
    packets, _ = await loop.create_datagram_endpoint(lambda: _Packets(authority), address)
    if folder is not None:
        for way in ("tls", "https"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
            if way == "https":
                context.set_alpn_protocols(["http/1.1"])
            server = await asyncio.start_server(stream(way), "127.0.0.1", 0, ssl=context)
            servers.append(server)
            setattr(authority, way, server.sockets[0].getsockname()[1])
    try:
        yield authority
    finally:
        packets.close()
        for server in servers:
            server.close()
            await server.wait_closed()


async def _page(
    authority: Authority, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    path = head.split(" ", 2)[1]
    text = path.partition("dns=")[2]
    wire = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for said in authority.hear(wire, "https"):
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(said), said)
        )
