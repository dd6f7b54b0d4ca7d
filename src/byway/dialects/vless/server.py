"""A VLESS server. Who is not a client of ours gets the web site, or silence."""

from __future__ import annotations

from collections.abc import Mapping

from byway.engine import EngineStream
from byway.errors import PeerError
from byway.flow import Network, Target
from byway.inbounds.arrival import Connection
from byway.inbounds.entry import Entry, Met, Visit
from byway.inbounds.framed import Framed
from byway.inbounds.inner import inner
from byway.inbounds.silence import greeted
from byway.inbounds.site import Site
from byway.interfaces import Carry
from byway.protocols import vless

_MUX_NETWORK = 6
"""Where the first frame of a mux has its network."""
_TCP = 1


class Vless:
    """Greets VLESS clients, and visitors of the web site where there is one."""

    def __init__(
        self,
        entry: Entry,
        users: vless.Users,
        site: Site | None,
        by_alpn: Mapping[str, Target],
    ) -> None:
        self.entry = entry
        self.users = users
        self.site = site
        self.by_alpn = dict(by_alpn)

    async def greet(self, stream: EngineStream) -> Met:
        """A visit: a guest may take the time that the web server gives."""
        return _Guest(stream, self)


class _Guest(Visit):
    """A connection that has not shown yet whether it is a client's or a visitor's."""

    __slots__ = ("_house", "_stream")

    def __init__(self, stream: EngineStream, house: Vless) -> None:
        self._stream = stream
        self._house = house

    async def stay(self, carry: Carry) -> None:
        stream, house = self._stream, self._house
        try:
            if house.site is None:
                seconds = house.entry.means.handshake
                await self._served(await greeted(stream, self._required(), seconds), carry)
            elif (request := await self._request()) is not None:
                await self._served(request, carry)
            else:
                agreed = stream.tls.alpn if stream.tls is not None else None
                address = house.by_alpn.get(agreed or "")
                await house.site.visit(stream, stream.source, address)
        finally:
            stream.close()

    async def _served(self, request: vless.Request, carry: Carry) -> None:
        stream, entry, user = self._stream, self._house.entry, request.user
        source, target = stream.source, request.target
        if request.flow:
            raise PeerError(
                f"user {user} asks for the flow {request.flow[:40]}, which is not supported",
                "remove flow from the client",
            )
        if request.command is vless.Command.CONNECT and target is not None:
            if (inside := inner(entry, target)) is not None:
                stream.hold(vless.ANSWER)
                await inside(stream, target, entry, source, user).stay(carry)
                return
            flow = entry.flow(Network.TCP, source, target, user)
            await carry(Connection(stream, flow, entry.means, self._grant))
            return
        if target is None:
            begun = await stream.peek(_MUX_NETWORK + 1, entry.means.handshake)
            if begun[_MUX_NETWORK:] == bytes([_TCP]):
                raise PeerError(f"user {user} uses mux.cool", "disable mux in the client")
        stream.hold(vless.ANSWER)
        await Framed(stream, target or "xudp", entry, source, user).stay(carry)

    async def _grant(self) -> None:
        self._stream.hold(vless.ANSWER)

    async def _required(self) -> vless.Request:
        request = await vless.accept(self._stream, self._house.users)
        if request is None:
            raise PeerError("the client is no known user")
        return request

    async def _request(self) -> vless.Request | None:
        """The request of a client; None for who says nothing that is one, for as long as it may."""
        try:
            if not await self._stream.peek(1, self._house.entry.means.handshake):
                return None
        except EOFError:
            return None
        return await vless.accept(self._stream, self._house.users)
