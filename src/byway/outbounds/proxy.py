"""Leave through a proxy: every proxy protocol is this class and one client.

`via` is whatever reaches the proxy (this host, or another proxy), `layers` dress the stream up
(TLS, WebSocket, ...), the client asks for the target. So chains and combinations cost no code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from byway.errors import PeerError, Reason, Refused, Unreachable, in_words
from byway.flow import Dial, Flow, Network, Step, Target
from byway.interfaces import Binding, Datagrams, Outbound, Resolver, Stream, Way
from byway.outbounds import guard
from byway.outbounds.over import Over, ways_over

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
    async def associate(self, control: Stream | None, server: Dial, via: Way) -> Datagrams:
        """A way for packets to `server`'s relay, by way of `via`; it lives as long as `control`,
        which is there if it `needs_control`."""

    async def bind(self, stream: Stream, target: Target, server: Target) -> Binding: ...


class Proxy:
    """The way out through one proxy server: over each way to that."""

    is_local = False

    def __init__(
        self,
        name: str,
        server: Target,
        via: Outbound,
        client: Client,
        resolver: Resolver,
        layers: Sequence[Layer] = (),
        own: guard.Own = lambda _: False,
    ) -> None:
        self.name = name
        self.chain = _chain(name, via)
        self.networks = (
            client.networks if client.packets_in_stream else client.networks & via.networks
        )
        self.server = server
        self.client = client
        self.resolver = resolver
        self.layers = tuple(layers)
        self.own = own
        self._via = via
        self.only = None if via.only is None else ProxyWay(self, via.only)

    def ways(
        self, flow: Flow, steps: list[Step] | None = None, peek: bool = False
    ) -> Iterable[Way]:
        """Over each way by which its server can be reached."""
        if self.only is not None:
            return (self.only,)
        network = Network.TCP if self.client.packets_in_stream else flow.network
        reaching = flow.toward(self.server, network)
        return ways_over(lambda via: ProxyWay(self, via), self._via, reaching, steps, peek)


class ProxyWay(Over):
    """A proxy over one way to its server. Errors name the hop that failed."""

    __slots__ = ("_proxy",)

    def __init__(self, proxy: Proxy, via: Way) -> None:
        super().__init__(proxy, via)
        self._proxy = proxy

    @property
    def chain(self) -> tuple[str, ...]:
        """The hops to the server, and the proxy."""
        return _chain(self._proxy.name, self.via)

    @property
    def is_local(self) -> bool:
        """It leaves from the proxy."""
        return False

    async def connect(self, dial: Dial) -> Stream:
        """A stream to the target. Raises Unreachable, Refused or PeerError."""
        target = await self.locate(dial)
        stream = await self._reached(dial)
        return await self._spoken(stream, self._proxy.client.connect(stream, target))

    async def associate(self, dial: Dial) -> Datagrams:
        """A way for packets through the proxy. Raises as `connect` does."""
        proxy = self._proxy
        client, server = proxy.client, dial.toward(proxy.server)
        if Network.UDP not in proxy.networks:
            raise Refused(f"outbound {proxy.name} carries no UDP", Reason.NOT_SUPPORTED)
        if not client.needs_control:
            return await client.associate(None, server, self.via)
        control = await self._reached(dial)
        seen = dial.toward(self._seen_as(control))
        return await self._spoken(control, client.associate(control, seen, self.via))

    async def bind(self, dial: Dial) -> Binding:
        """Borrow a port of the proxy. Raises as `connect` does."""
        stream = await self._reached(dial)
        client, seen = self._proxy.client, self._seen_as(stream)
        return await self._spoken(stream, client.bind(stream, dial.target, seen))

    async def locate(self, dial: Dial) -> Target:
        """The target as this proxy may and can be asked for it; names are the proxy's to resolve.
        Raises Refused (guard), Unreachable."""
        proxy, target = self._proxy, dial.target
        if dial.guarded:
            if target.host == "localhost" or target.host.endswith(".localhost"):
                raise Refused(f"{target.host} is a loopback name", Reason.RULES)
            guard.check(target, proxy.own)
        if target.packed is not None or proxy.client.carries_names:
            return target
        for packed in await proxy.resolver.resolve(target.full):
            if len(packed) == 4:
                found = Target.from_packed(packed, target.port)
                if dial.guarded:
                    guard.check(found, proxy.own)
                return found
        raise Unreachable(
            f"{target.host} has no IPv4 address, and outbound {proxy.name} carries nothing else",
            str(target),
            Reason.NAME_UNKNOWN,
        )

    async def _reached(self, dial: Dial) -> Stream:
        """A stream to the server, layers on."""
        server = self._proxy.server
        try:
            stream = await self.via.connect(dial.toward(server))
        except Refused as error:
            raise self._unreached(error) from error
        except Unreachable as error:
            if error.hop != str(server):
                raise  # a hop before this one
            raise self._unreached(error) from error
        for layer in self._proxy.layers:
            stream = await self._spoken(stream, layer(stream))
        return stream

    async def _spoken(self, stream: Stream, speech: Awaitable[T]) -> T:
        """The outcome of a handshake on the stream, which a failed one closes."""
        try:
            return await speech
        except BaseException as error:
            stream.close()
            name, server = self._proxy.name, self._proxy.server
            if isinstance(error, asyncio.CancelledError):
                error.add_note(f"{name} at {server} did not answer")
            if isinstance(error, Refused):
                raise Refused(f"{name}: {error}", error.reason, error.hint) from error
            if isinstance(error, PeerError):
                raise PeerError(f"{name}: {error}", error.hint) from error
            if isinstance(error, (OSError, EOFError)):
                raise Unreachable(
                    f"{name}: the connection to {server} broke: {in_words(error)}",
                    name,
                    Reason.TIMED_OUT if isinstance(error, TimeoutError) else Reason.FAILURE,
                ) from error
            raise

    def _seen_as(self, stream: Stream) -> Target:
        """The server as it was really reached, where this host itself reached it."""
        server = self._proxy.server
        return (stream.info.remote or server) if self.via.is_local else server

    def _unreached(self, error: Refused | Unreachable) -> Unreachable:
        late = error.reason is Reason.TIMED_OUT
        why = str(error) if isinstance(error, Refused) else error.reason.value
        proxy = self._proxy
        return Unreachable(
            f"{proxy.name}: cannot reach its server {proxy.server}: {why}",
            proxy.name,
            Reason.TIMED_OUT if late else Reason.FAILURE,  # it is not the target that refused
        )


async def toward(dial: Dial, via: Way) -> tuple[Datagrams, Target]:
    """A way for packets by `via`, and the target as they are sent to it. Raises as `via` does."""
    inner = await via.associate(dial)
    try:
        return inner, await via.locate(dial)
    except BaseException:
        inner.close()
        raise


def _chain(name: str, via: Outbound | Way) -> tuple[str, ...]:
    """The hops by way of `via`; this host itself counts for none."""
    return (name,) if via.is_local and not via.chain[1:] else (*via.chain, name)
