"""HTTP and SOCKS on one port; there is no protocol of its own."""

from __future__ import annotations

from typing import ClassVar, Literal

from byway.dialects.card import Card, Out, Theirs
from byway.dialects.foreign_plain import into_clash, into_sing_box
from byway.dialects.http.sections import WithBasicUsers
from byway.dialects.http.server import Http
from byway.dialects.socks.sections import SocksOutbound
from byway.dialects.socks.server import Socks
from byway.engine import EngineStream
from byway.flow import Target
from byway.inbounds.entry import Entry, Greet, Met
from byway.values.user import User

CHUNK = 4096  # most first messages come whole in it


class _Mixed:
    """Greets a client in the protocol it begins with: 04 and 05 are SOCKS, all else is HTTP."""

    def __init__(self, entry: Entry) -> None:
        self._socks = Socks(entry)
        self._http = Http(entry)

    async def greet(self, stream: EngineStream) -> Met:
        """Read the client's request. When it raises, the client has its refusal already."""
        begun = await stream.read(CHUNK)
        if begun[0] == 5 or begun[0] == 4:
            return await self._socks.greet(stream, begun)
        return await self._http.greet(stream, begun)


class MixedInbound(WithBasicUsers):
    """HTTP, SOCKS4, SOCKS4a and SOCKS5 on one port."""

    program_schemes: ClassVar[tuple[str, str]] = ("http", "socks5h")

    type: Literal["mixed"]

    def greet(self, entry: Entry) -> Greet:
        """In the protocol that a client begins with."""
        return _Mixed(entry).greet

    def _invited(self, server: Target, user: User | None) -> Out:
        return SocksOutbound.of(server, user)


CARD = Card(
    MixedInbound,
    clash=Theirs(entering={"mixed": into_clash("mixed")}, ports=("mixed-port",)),
    sing_box=Theirs(entering={"mixed": into_sing_box("mixed")}),
)
