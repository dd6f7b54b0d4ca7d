"""TLS to web servers that Byway itself asks something of: trusted as the system trusts."""

from __future__ import annotations

import asyncio

from byway.engine import Engine, TlsClient, TlsClientOptions
from byway.interfaces import Stream

MOST_KEPT = 16  # clients with the system's authorities read in


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
