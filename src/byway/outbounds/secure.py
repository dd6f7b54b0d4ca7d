"""TLS to servers: to those that a config names, and to web servers that Byway itself asks something
of, which are trusted as the system trusts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from byway.engine import Engine, EngineStream, TlsClient, TlsClientOptions
from byway.errors import Reason, Unreachable, in_words
from byway.flow import Target
from byway.interfaces import Stream
from byway.values.tls import ClientTls

MOST_KEPT = 16  # clients with the system's authorities read in


class SetTls:
    """TLS to one server, as a config sets it. Its files are read until they can be: when they
    cannot, handshakes fail, and nothing else does."""

    def __init__(self, engine: Engine, who: str, tls: ClientTls, server: Target) -> None:
        self._engine = engine
        self._who = who
        self._tls = tls
        self._server = server
        self._client: TlsClient | None = None

    def read(self) -> str:
        """Read the files now: why they are of no use, or ""."""
        try:
            self._client = TlsClient(_options(self._tls, self._server))
        except (OSError, ValueError) as error:
            return in_words(error)
        return ""

    async def __call__(self, stream: Stream) -> EngineStream:
        """Shake hands. Consumes the stream; raises Unreachable, or as `Engine.tls_client`."""
        if self._client is None:
            try:
                problem = await asyncio.to_thread(self.read)
            except BaseException:
                stream.close()
                raise
            if self._client is None:
                stream.close()
                raise Unreachable(f"{self._who}: tls: {problem}", self._who, Reason.FAILURE)
        return await self._engine.tls_client(stream, self._client)


class WebTls:
    """Puts TLS on streams to servers by their names."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clients: dict[str, TlsClient] = {}

    async def __call__(self, stream: Stream, name: str) -> Stream:
        """Shake hands. Consumes the stream; raises as `Engine.tls_client`."""
        client = self._clients.get(name)
        if client is None:
            try:
                options = TlsClientOptions(name, ("http/1.1",))
                client = await asyncio.to_thread(TlsClient, options)  # reads the authorities
            except BaseException:
                stream.close()
                raise
            if len(self._clients) >= MOST_KEPT:
                self._clients.pop(next(iter(self._clients)))
            self._clients[name] = client
        return await self._engine.tls_client(stream, client)


def _options(tls: ClientTls, server: Target) -> TlsClientOptions:
    """How the engine speaks TLS to a server. Raises OSError for a file that cannot be read."""
    return TlsClientOptions(
        tls.sni or server.host,
        tls.alpn,
        ca=_content(tls.ca),
        pins=[bytes.fromhex(pin) for pin in tls.pin],
        insecure=tls.insecure,
        resume=256 if tls.resume else 0,
        certificate=_content(tls.cert),
        key=_content(tls.key),
    )


def _content(file: str | None) -> bytes:
    return b"" if file is None else Path(file).read_bytes()
