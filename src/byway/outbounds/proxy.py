"""Leave through a proxy: every proxy protocol is this class and one client.

`via` is whatever reaches the proxy (this host, or another proxy), `layers` dress the stream up
(TLS, WebSocket, ...), the client asks for the target. So chains and combinations cost no code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol, TypeVar

from byway.errors import PeerError, Reason, Refused, Unreachable, in_words
from byway.flow import Flow, Network, Target
from byway.interfaces import Binding, Datagrams, Outbound, Resolver, Stream
from byway.outbounds import guard
from byway.trail import Trail

Layer = Callable[[Stream], Awaitable[Stream]]
T = TypeVar("T")


class Client(Protocol):
    """The client's end of one proxy protocol, options and all. Streams come connected."""

    @property
    def networks(self) -> frozenset[Network]:
        """What it carries."""

    @property
    def carries_names(self) -> bool:
        """Whether it can ask for names; if not, they are resolved here, to IPv4."""

    @property
    def needs_control(self) -> bool:
        """Whether its way for packets lives as long as a stream to the server."""

    @property
    def packets_in_stream(self) -> bool:
        """Whether packets go inside that stream, so that the way to the server may be TCP alone."""

    async def connect(self, stream: Stream, target: Target) -> Stream: ...
    async def associate(self, control: Stream | None, server: Target, via: Outbound) -> Datagrams:
        """A way for packets to `server`'s relay, by way of `via`; it lives as long as `control`,
        which is there if it `needs_control`."""

    async def bind(self, stream: Stream, target: Target, server: Target) -> Binding: ...


class Proxy:
    """The way out through one proxy server. Errors name the hop that failed."""

    here = False

    def __init__(
        self,
        name: str,
        server: Target,
        via: Outbound,
        client: Client,
        resolver: Resolver,
        layers: Sequence[Layer] = (),
        own: guard.Own = lambda _: False,
        closed: bool = False,
    ) -> None:
        self.name = name
        only_here = via.here and not via.chain[1:]
        self.chain = (name,) if only_here else (*via.chain, name)
        self.chooses = via.chooses
        self.networks = (
            client.networks if client.packets_in_stream else client.networks & via.networks
        )
        self._server = server
        self._via = via
        self._client = client
        self._resolver = resolver
        self._layers = tuple(layers)
        self._own = own
        self._closed = closed
        self._over: dict[Outbound, Proxy] = {}  # by the way that a group in `via` led to
        self._guarded = (
            self if closed else Proxy(name, server, via, client, resolver, layers, own, closed=True)
        )

    def guarded(self) -> Proxy:
        """The same way, closed to addresses of this host; names are the proxy's to resolve."""
        return self._guarded

    def lead(
        self, flow: Flow, dial: Callable[[Outbound], Coroutine[None, None, T]], trail: Trail
    ) -> Coroutine[None, None, T]:
        """Dial by this proxy, over the way by which its server is reached."""
        if not self.chooses:
            return dial(self)
        return self._via.lead(flow.toward(self._server), lambda via: dial(self._by(via)), trail)

    def _by(self, via: Outbound) -> Proxy:
        """This proxy over one way. The same way gives the same object, so that what depends on it
        (kept connections, associations) is found again."""
        made = self._over.get(via)
        if made is None:
            made = self._over[via] = Proxy(
                self.name,
                self._server,
                via,
                self._client,
                self._resolver,
                self._layers,
                self._own,
                self._closed,
            )
        return made

    async def connect(self, target: Target) -> Stream:
        """A stream to the target. Raises Unreachable, Refused or PeerError."""
        target = await self._asked(target)
        stream = await self._reached()
        return await self._spoken(stream, self._client.connect(stream, target))

    async def associate(self) -> Datagrams:
        """A way for packets through the proxy. Raises as `connect` does."""
        if Network.UDP not in self.networks:
            raise Refused(f"outbound {self.name} carries no UDP", Reason.NOT_SUPPORTED)
        if not self._client.needs_control:
            way = await self._client.associate(None, self._server, self._via)
            return _Checked(way, self._asked)
        control = await self._reached()
        speech = self._client.associate(control, self._seen_as(control), self._via)
        return _Checked(await self._spoken(control, speech), self._asked)

    async def bind(self, target: Target) -> Binding:
        """Borrow a port of the proxy. Raises as `connect` does."""
        stream = await self._reached()
        return await self._spoken(stream, self._client.bind(stream, target, self._seen_as(stream)))

    async def _reached(self) -> Stream:
        """A stream to the server, layers on."""
        try:
            stream = await self._via.connect(self._server)
        except Refused as error:
            raise self._unreached(error) from error
        except Unreachable as error:
            if error.hop != str(self._server):
                raise  # a hop before this one
            raise self._unreached(error) from error
        for layer in self._layers:
            stream = await self._spoken(stream, layer(stream))
        return stream

    async def _asked(self, target: Target) -> Target:
        """The target as this proxy may and can be asked for it."""
        if self._closed:
            if target.host == "localhost" or target.host.endswith(".localhost"):
                raise Refused(f"{target.host} is a loopback name", Reason.RULES)
            guard.check(target, self._own)
        if target.packed is not None or self._client.carries_names:
            return target
        for packed in await self._resolver.resolve(target.full):
            if len(packed) == 4:
                found = Target.from_packed(packed, target.port)
                if self._closed:
                    guard.check(found, self._own)
                return found
        raise Unreachable(
            f"{target.host} has no IPv4 address, and outbound {self.name} carries nothing else",
            str(target),
            Reason.NAME_UNKNOWN,
        )

    async def _spoken(self, stream: Stream, speech: Awaitable[T]) -> T:
        """The outcome of a handshake on the stream, which a failed one closes."""
        try:
            return await speech
        except BaseException as error:
            stream.close()
            if isinstance(error, asyncio.CancelledError):
                error.add_note(f"{self.name} at {self._server} did not answer")
            if isinstance(error, Refused):
                raise Refused(f"{self.name}: {error}", error.reason, error.hint) from error
            if isinstance(error, PeerError):
                raise PeerError(f"{self.name}: {error}", error.hint) from error
            if isinstance(error, (OSError, EOFError)):
                raise Unreachable(
                    f"{self.name}: the connection to {self._server} broke: {in_words(error)}",
                    self.name,
                    Reason.TIMED_OUT if isinstance(error, TimeoutError) else Reason.FAILURE,
                ) from error
            raise

    def _seen_as(self, stream: Stream) -> Target:
        """The server as it was really reached, where this host itself reached it."""
        if self._via.here:
            return stream.info.remote or self._server
        return self._server

    def _unreached(self, error: Refused | Unreachable) -> Unreachable:
        late = error.reason is Reason.TIMED_OUT
        why = str(error) if isinstance(error, Refused) else error.reason.value
        return Unreachable(
            f"{self.name}: cannot reach its server {self._server}: {why}",
            self.name,
            Reason.TIMED_OUT if late else Reason.FAILURE,  # it is not the target that refused
        )


async def toward(server: Target, via: Outbound) -> tuple[Datagrams, Target]:
    """A way for packets by `via`, and where the server is on it. Raises as `via` does."""
    inner = await via.associate()
    try:
        return inner, await inner.locate(server)
    except BaseException:
        inner.close()
        raise


class _Checked:
    """A proxy's way for packets; targets are looked at as those of `connect` are."""

    __slots__ = ("_asked", "_inner")

    def __init__(self, inner: Datagrams, asked: Callable[[Target], Awaitable[Target]]) -> None:
        self._inner = inner
        self._asked = asked

    @property
    def bare(self) -> Datagrams:
        return self._inner.bare

    async def locate(self, target: Target) -> Target:
        return await self._inner.locate(await self._asked(target))

    def close(self) -> None:
        self._inner.close()
