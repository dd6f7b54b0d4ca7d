"""Layers keep the contract of streams: sealed chunks of every cipher, TLS of both versions, and
one over the other."""

from __future__ import annotations

import asyncio

import pytest

from byway.engine import (
    EngineStream,
    TlsClient,
    TlsClientOptions,
    TlsServer,
    TlsServerOptions,
)
from byway.engine.layers import Version
from byway.interfaces import Stream
from byway.sealing import Awaited, Cipher, Opening, Sealing
from byway.streams.ciphers import hkdf_sha1
from tests.streams.certificates import authority, certificate
from tests.streams.test_engine import EngineConformance

CIPHERS: tuple[Cipher, ...] = ("aes-128-gcm", "aes-256-gcm", "chacha20-poly1305")


class LayerConformance(EngineConformance):
    """The suite over a TCP connection with something on it."""

    async def make(self) -> list[Stream]:
        one, two = await self.dial("127.0.0.1")
        assert isinstance(one, EngineStream)
        assert isinstance(two, EngineStream)
        return list(await self.layered(one, two))

    async def layered(self, one: EngineStream, two: EngineStream) -> tuple[Stream, Stream]:
        """The layer's two ends over these."""
        raise NotImplementedError

    def chunked(
        self, one: EngineStream, two: EngineStream, cipher: Cipher, modern: bool, limit: int
    ) -> tuple[EngineStream, EngineStream]:
        """`one` as a client whose request was opened already, `two` as the server that answers."""
        ciphers = self.engine.ciphers
        size = 16 if cipher == "aes-128-gcm" else 32
        up, master, request, salt = (bytes([n]) * size for n in range(4))
        if modern:
            down = ciphers.blake3_key("shadowsocks 2022 session subkey", master + salt, size)
            lead, awaited = b"\x01" + bytes(8) + request, Awaited(master, request)
        else:
            down, lead = hkdf_sha1(master, salt, b"ss-subkey", size), b""
            awaited = Awaited(master)
        return (
            ciphers.chunked(one, cipher, Sealing(up), awaited, limit),
            ciphers.chunked(two, cipher, Sealing(down, salt, lead), Opening(up), limit),
        )


@pytest.mark.parametrize("cipher", CIPHERS)
class TestChunks(LayerConformance):
    """Shadowsocks' chunks, the AEAD edition."""

    @pytest.fixture(autouse=True)
    def _cipher(self, cipher: Cipher) -> None:
        self.cipher = cipher

    async def layered(self, one: EngineStream, two: EngineStream) -> tuple[Stream, Stream]:
        return self.chunked(one, two, self.cipher, False, 0x3FFF)


@pytest.mark.parametrize("cipher", CIPHERS)
class TestModernChunks(LayerConformance):
    """Those of 2022; the roles are turned, so that both ends are each read and written."""

    @pytest.fixture(autouse=True)
    def _cipher(self, cipher: Cipher) -> None:
        self.cipher = cipher

    async def layered(self, one: EngineStream, two: EngineStream) -> tuple[Stream, Stream]:
        return self.chunked(two, one, self.cipher, True, 0xFFFF)[::-1]


class TlsConformance(LayerConformance):
    """The suite over TLS."""

    version: Version = "1.3"

    async def layered(self, one: EngineStream, two: EngineStream) -> tuple[Stream, Stream]:
        return await self.shaken(one, two)

    async def shaken(
        self, one: EngineStream, two: EngineStream
    ) -> tuple[EngineStream, EngineStream]:
        """TLS with `one` as client."""
        client = TlsClient(
            TlsClientOptions("test.example", versions=(self.version,), ca=authority().pem)
        )
        server = TlsServer(TlsServerOptions([certificate("test.example").pair]))
        async with asyncio.TaskGroup() as tasks:
            at_client = tasks.create_task(self.engine.tls_client(one, client))
            at_server = tasks.create_task(self.engine.tls_server(two, server))
        return at_client.result(), at_server.result()


class TestTls13(TlsConformance):
    """TLS 1.3."""


class TestTls12(TlsConformance):
    """TLS 1.2."""

    version = "1.2"


class TestTls13TheOtherWay(TlsConformance):
    """TLS 1.3 with the suite's first end as the server."""

    async def layered(self, one: EngineStream, two: EngineStream) -> tuple[Stream, Stream]:
        return (await self.shaken(two, one))[::-1]


class TestTlsOverChunks(TlsConformance):
    """TLS inside shadowsocks, as a browser's flow is; and inside that, chunks once more."""

    async def layered(self, one: EngineStream, two: EngineStream) -> tuple[Stream, Stream]:
        below = self.chunked(one, two, "chacha20-poly1305", True, 0xFFFF)
        middle = await self.shaken(*below)
        return self.chunked(*middle, "aes-128-gcm", False, 0x3FFF)
