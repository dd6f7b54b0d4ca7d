"""TLS at a listener: its certificate, read again when the file changes, and greetings inside it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from byway.engine import EngineStream, TlsServer, TlsServerOptions
from byway.inbounds.entry import Entry, Greet, Met

LOOK = 5.0  # seconds between two looks at the files


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where a listener's certificate is, and what else its TLS settles. `clients`: CAs (PEM)."""

    chain: str
    key: str
    alpn: Sequence[str] = ()
    clients: str | None = None

    def options(self) -> TlsServerOptions:
        """Read the files. Raises OSError."""
        clients = b"" if self.clients is None else _content(self.clients)
        pair = (_content(self.chain), _content(self.key))
        return TlsServerOptions([pair], tuple(self.alpn), clients=clients)

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """A value that changes when a file does. Raises OSError."""
        files = [file for file in (self.chain, self.key, self.clients) if file is not None]
        found = [os.stat(file) for file in files]
        return tuple((seen.st_mtime_ns, seen.st_ino) for seen in found)


class TlsDoor:
    """The server's side of TLS at one listener. Raises OSError or ValueError for bad files."""

    def __init__(self, entry: Entry, certificate: Certificate) -> None:
        self._entry = entry
        self._certificate = certificate
        self._stamp = certificate.stamp()
        self._server = TlsServer(certificate.options())
        self._looked = time.monotonic()

    async def secured(self, stream: EngineStream) -> EngineStream:
        """Shake hands; consumes the stream. Raises NotTls, which has it back, or PeerError."""
        self._renew()
        return await self._entry.means.engine.tls_server(stream, self._server)

    def _renew(self) -> None:
        """Take a new certificate, now and then, if there is one. A bad one leaves the old."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        log, name = self._entry.means.log, self._entry.name
        try:
            stamp = self._certificate.stamp()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._server.reload(self._certificate.options())
        except (OSError, ValueError) as error:
            log.error("the new certificate is invalid", inbound=name, error=error)
        else:
            log.info("loaded a new certificate", inbound=name, file=self._certificate.chain)


def inside(door: TlsDoor, greet: Greet) -> Greet:
    """The same greeting, inside TLS."""

    async def secured(stream: EngineStream) -> Met:
        return await greet(await door.secured(stream))

    return secured


def _content(file: str) -> bytes:
    with open(file, "rb") as opened:
        return opened.read()
