"""HTTP, SOCKS4, SOCKS4a and SOCKS5 on one port: the first byte tells which."""

from __future__ import annotations

from byway.engine import EngineStream
from byway.inbounds.entry import Entry, Met
from byway.inbounds.http import Http
from byway.inbounds.socks import Socks

CHUNK = 4096  # most first messages come whole in it


class Mixed:
    """Greets a client in the protocol it begins with: 04 and 05 are SOCKS, all else is HTTP."""

    def __init__(self, entry: Entry) -> None:
        self._socks = Socks(entry)
        self._http = Http(entry)

    async def greet(self, stream: EngineStream) -> Met:
        """Hear what the client wants. Raises with the client already told no."""
        begun = await stream.read(CHUNK)
        if begun[0] == 5 or begun[0] == 4:
            return await self._socks.greet(stream, begun)
        return await self._http.greet(stream, begun)
