"""A trojan server. A peer that cannot authenticate is connected to a real web server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from byway.engine import EngineStream, NotTls
from byway.flow import Network, Target
from byway.inbounds.arrival import Connection
from byway.inbounds.entry import Entry, Met, Visit
from byway.inbounds.framed import Framed
from byway.inbounds.inner import inner
from byway.inbounds.site import Site
from byway.inbounds.tls import TlsDoor
from byway.interfaces import Carry
from byway.protocols import trojan
from byway.transports.card import Transport


class Trojan:
    """Greets clients with a known password, and visitors of the web site."""

    def __init__(
        self,
        entry: Entry,
        users: trojan.Users,
        tls: TlsDoor,
        site: Site,
        by_alpn: Mapping[str, Target],
        transport: Transport | None = None,
    ) -> None:
        self.entry = entry
        self.users = users
        self.tls = tls
        self.site = site
        self.by_alpn = dict(by_alpn)
        self.inside = (
            self._met if transport is None else transport.greeting(entry, self._met, self.elsewhere)
        )
        """Greets what came out of TLS."""

    async def greet(self, stream: EngineStream) -> Met:
        """A visit: a guest may take the time that the web server gives."""
        return _Guest(stream, self)

    async def elsewhere(self, secure: EngineStream) -> Met:
        """The web site that a visitor inside TLS gets."""
        return _Stranger(secure, self)

    async def visit(self, secure: EngineStream, source: Target | None) -> None:
        """Hand over who came out of TLS to the web site for its ALPN."""
        agreed = secure.tls.alpn if secure.tls is not None else None
        await self.site.visit(secure, source, self.by_alpn.get(agreed or ""))

    async def _met(self, secure: EngineStream) -> Met:
        return _Inside(secure, self)


class _Guest(Visit):
    """A connection that has not shown yet whether it is a client's or a visitor's.

    What begins as TLS and is none is the business of TLS, which answers as a web server's does. The
    web site gets who speaks plainly from the first byte on, and who speaks inside TLS.
    """

    __slots__ = ("_house", "_stream")

    def __init__(self, stream: EngineStream, house: Trojan) -> None:
        self._stream = stream
        self._house = house

    async def stay(self, carry: Carry) -> None:
        house, entry = self._house, self._house.entry
        source = self._stream.source
        try:
            # Each by a clock of its own: web servers cut nobody together with others.
            async with asyncio.timeout(entry.means.handshake):
                secure = await house.tls.secured(self._stream)
        except NotTls as plain:
            await house.site.visit(plain.stream, source)
            return
        try:
            met = await house.inside(secure)
            if isinstance(met, Visit):
                await met.stay(carry)
            else:
                await carry(met)
        finally:
            secure.close()


class _Stranger(Visit):
    """Who came out of TLS, and does not speak the transport."""

    __slots__ = ("_house", "_stream")

    def __init__(self, stream: EngineStream, house: Trojan) -> None:
        self._stream = stream
        self._house = house

    async def stay(self, carry: Carry) -> None:
        await self._house.visit(self._stream, self._stream.source)


class _Inside(Visit):
    """The stream inside TLS, and inside the transport where there is one."""

    __slots__ = ("_house", "_stream")

    def __init__(self, stream: EngineStream, house: Trojan) -> None:
        self._stream = stream
        self._house = house

    async def stay(self, carry: Carry) -> None:
        house, entry, secure = self._house, self._house.entry, self._stream
        source = secure.source
        try:
            request = await self._request(secure)
            if request is None:
                await house.visit(secure, source)
            elif request.command is trojan.Command.ASSOCIATE:
                await Framed(secure, "trojan", entry, source, request.user).stay(carry)
            elif (inside := inner(entry, request.target)) is not None:
                await inside(secure, request.target, entry, source, request.user).stay(carry)
            else:
                flow = entry.flow(Network.TCP, source, request.target, request.user)
                await carry(Connection(secure, flow, entry.means))
        finally:
            secure.close()

    async def _request(self, secure: EngineStream) -> trojan.Request | None:
        """The request of a client; None where none comes in time."""
        try:
            if not await secure.peek(1, self._house.entry.means.handshake):
                return None
        except EOFError:
            return None
        return await trojan.accept(secure, self._house.users)
