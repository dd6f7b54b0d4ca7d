"""Shadowsocks peers that send chunks with nothing in them, as xray-core and sing-box do.

Ours never sends one, so the peer is played here, with real ciphers.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

import pytest

from byway.flow import Target
from byway.protocols import address, shadowsocks, shadowsocks2022
from byway.protocols.shadowsocks import METHODS, Method
from byway.streams.ciphers import PureCiphers
from tests.roads import clients
from tests.roads.conftest import RunRoad
from tests.roads.test_encrypted import at_client, at_server
from tests.roads.test_probes import keys

pytestmark = pytest.mark.usefixtures("nowhere")

PURE = PureCiphers(time.time)
BANNER = b"220 hello\r\n"
EMPTY = 40  # in a row


class Sealer:
    """One direction of a connection."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.salt = random.randbytes(method.size)
        made = shadowsocks2022.session_key if method.is_2022 else shadowsocks.session_key
        self.key = made(PURE, keys(method)[0], self.salt)
        self.count = 0

    def seal(self, *pieces: bytes) -> bytes:
        """These pieces, one after the other."""
        sealed = b""
        for piece in pieces:
            sealed += PURE.seal(self.method.cipher, self.key, self.count, piece)
            self.count += 1
        return sealed

    def chunks(self, *payloads: bytes) -> bytes:
        """These payloads, a chunk each."""
        return b"".join(self.seal(len(each).to_bytes(2), each) for each in payloads)

    def request(self, target: Target) -> bytes:
        """A client's first bytes, up to its target."""
        asked = address.pack(target)
        if not self.method.is_2022:
            return self.salt + self.chunks(asked)
        asked += b"\0\1\0"
        head = b"\0" + int(time.time()).to_bytes(8) + len(asked).to_bytes(2)
        return self.salt + self.seal(head, asked)

    def answer(self, request: bytes, payload: bytes) -> bytes:
        """A server's first bytes to a request of that salt."""
        if not self.method.is_2022:
            return self.salt + self.chunks(payload)
        head = b"\1" + int(time.time()).to_bytes(8) + request + len(payload).to_bytes(2)
        return self.salt + self.seal(head, payload)


@contextlib.asynccontextmanager
async def talker() -> AsyncIterator[Target]:
    """A server that speaks first, and then says in capitals what it hears."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                writer.write(data.upper())
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield Target.of(*server.sockets[0].getsockname())


async def opened(method: Method, reader: asyncio.StreamReader, request: bytes, size: int) -> bytes:
    """So many bytes of a server's answer."""
    far = Sealer(method)
    far.salt = await reader.readexactly(method.size)
    made = shadowsocks2022.session_key if method.is_2022 else shadowsocks.session_key
    key, count, plain = made(PURE, keys(method)[0], far.salt), 0, b""
    head = 9 + method.size if method.is_2022 else 0
    while len(plain) < size:
        sealed = await reader.readexactly(head + 2 + 16)
        told = PURE.open(method.cipher, key, count, sealed)
        assert not head or told[9:-2] == request
        head = 0
        body = await reader.readexactly(int.from_bytes(told[-2:]) + 16)
        plain += PURE.open(method.cipher, key, count + 1, body)
        count += 2
    return plain


@pytest.mark.parametrize("name", METHODS)
async def test_a_client_that_waits_for_a_banner(name: str, road: RunRoad) -> None:
    method = METHODS[name]
    async with road(at_server(name)) as there, talker() as target:
        reader, writer = await clients.linked(there.place("in"))
        near = Sealer(method)
        writer.write(near.request(target))
        writer.write(near.chunks(*[b""] * EMPTY))
        heard = asyncio.ensure_future(opened(method, reader, near.salt, len(BANNER) + 9))
        writer.write(near.chunks(b"ehlo", b"", b" a", b"", b"", b".b\n", b""))
        assert await heard == BANNER + b"EHLO A.B\n"
        writer.close()
        await there.settled(1)
        (passage,) = there.app.ledger.past
        assert (passage.up, passage.down) == (9, len(BANNER) + 9)
        assert not passage.failed


@pytest.mark.parametrize("name", METHODS)
async def test_a_server_that_has_nothing_to_say_yet(name: str, road: RunRoad) -> None:
    method = METHODS[name]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        salt = await reader.readexactly(method.size)
        near = Sealer(method)
        writer.write(near.answer(salt, b""))
        writer.write(near.chunks(*[b""] * EMPTY, b"one", b"", b"two", b""))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        place = Target.of(*server.sockets[0].getsockname())
        async with road(at_client(name, place)) as here:
            link = await clients.linked(here.place("in"))
            assert await clients.socks5(link, Target.of("192.0.2.1", 25)) == 0
            assert await link[0].readexactly(6) == b"onetwo"
            await clients.left(link)


async def test_nothing_without_end_is_ended(road: RunRoad) -> None:
    method = METHODS["aes-128-gcm"]
    async with road(at_server(method.name)) as there, talker() as target:
        reader, writer = await clients.linked(there.place("in"))
        near = Sealer(method)
        writer.write(near.request(target))
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                writer.write(near.chunks(*[b""] * 100))
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                pass
        writer.close()
        await there.settled(1)
        assert there.ended() == ["near side: it broke its protocol"]
