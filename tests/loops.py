"""The event loop of the tests: one that leaves no connection of a test's own server behind.

A server of asyncio accepts in tasks. A connection that was accepted in the moment its server closed
or its test ended has a socket already and nobody yet to close it, and its ResourceWarning would
fail the test that runs when the garbage is collected. Byway's own streams are the engine's.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any


class TidyLoop(asyncio.SelectorEventLoop):
    """Closes what came too late for its server, and at its end the transports that are left."""

    def close(self) -> None:
        """Idempotent, as every loop's."""
        if not self.is_closed():
            for transport in tuple(self._transports.values()):  # type: ignore[attr-defined]
                transport.abort()
            self.run_until_complete(asyncio.sleep(0))
            self.run_until_complete(asyncio.sleep(0))
        super().close()

    def _make_socket_transport(self, sock: socket.socket, *words: Any, **more: Any) -> Any:
        _refuse_late(sock, more.get("server"))
        return super()._make_socket_transport(sock, *words, **more)  # type: ignore[misc]

    def _make_ssl_transport(self, rawsock: socket.socket, *words: Any, **more: Any) -> Any:
        _refuse_late(rawsock, more.get("server"))
        return super()._make_ssl_transport(rawsock, *words, **more)  # type: ignore[misc]


def _refuse_late(sock: socket.socket, server: asyncio.Server | None) -> None:
    """A transport of a closed server fails half made, and nothing would close its socket."""
    if server is not None and not server.sockets:
        sock.close()
        raise ConnectionAbortedError("the server closed before it had this connection")


class TidyLoops(asyncio.DefaultEventLoopPolicy):
    """Makes such loops."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """A new one, of nobody's yet."""
        return TidyLoop()
