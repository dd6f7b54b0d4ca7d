"""Leave through a proxy: every proxy protocol is this class and one client.

`via` is whatever reaches the proxy (this host, or another proxy), `layers` dress the stream up
(TLS, a transport), the client asks for the target. So chains and combinations cost no code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from byway.errors import Reason, Refused, Unreachable
from byway.flow import Dial, Flow, Network, Step, Target
from byway.interfaces import Binding, Datagrams, Outbound, Resolver, Stream, Way
from byway.outbounds import guard
from byway.outbounds.over import Over, ways_over
from byway.outbounds.reach import Dressed, Layer, Minded, Reach, Straight, broken

T = TypeVar("T")


class Client(Protocol):
    """The client's end of one proxy protocol, options and all. It opens what it needs of a reach;
    what it opened is closed by its caller when it fails."""

    @property
    def networks(self) -> frozenset[Network]:
        """The networks that it carries."""

    @property
    def carries_names(self) -> bool:
        """Whether it can ask for names; if not, they are resolved here, to IPv4."""

    @property
    def packets_in_stream(self) -> bool:
        """Whether packets go inside a stream, so that the way to the server may be TCP alone."""

    async def connect(self, reach: Reach, dial: Dial) -> Stream:
        """A stream to the dial's target."""

    async def associate(self, reach: Reach, dial: Dial) -> Datagrams:
        """A way for packets. Raises Refused with NOT_SUPPORTED where the protocol has none."""

    async def bind(self, reach: Reach, dial: Dial) -> Binding:
        """A port of the server, lent for one connection from the dial's target. Raises Refused
        with NOT_SUPPORTED where the protocol has none."""


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
        self._layers = tuple(layers)
        self.own = own
        self._via = via
        self.only = None if via.only is None else ProxyWay(self, via.only)

    def reached_by(self, via: Way) -> Reach:
        """Its server over one way, in all that the section has around its protocol."""
        reach: Reach = Straight(self.name, self.server, via)
        for layer in self._layers:
            reach = Dressed(self.name, self.server, reach, layer)
        return reach

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

    __slots__ = ("_proxy", "_reach")

    def __init__(self, proxy: Proxy, via: Way) -> None:
        super().__init__(proxy, via)
        self._proxy = proxy
        self._reach = proxy.reached_by(via)

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
        client, asked = self._proxy.client, dial.located(await self.locate(dial))
        return await self._spoken(lambda reach: client.connect(reach, asked))

    async def associate(self, dial: Dial) -> Datagrams:
        """A way for packets through the proxy. Raises as `connect` does."""
        proxy = self._proxy
        if Network.UDP not in proxy.networks:
            raise Refused(f"outbound {proxy.name} does not support UDP", Reason.NOT_SUPPORTED)
        return await self._spoken(lambda reach: proxy.client.associate(reach, dial))

    async def bind(self, dial: Dial) -> Binding:
        """Borrow a port of the proxy. Raises as `connect` does."""
        return await self._spoken(lambda reach: self._proxy.client.bind(reach, dial))

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

    async def _spoken(self, speech: Callable[[Reach], Awaitable[T]]) -> T:
        """The outcome of a handshake; when it fails, what it opened is closed."""
        reach, proxy = Minded(self._reach), self._proxy
        try:
            return await speech(reach)
        except BaseException as error:
            reach.close()
            if error is reach.failed:
                raise  # it names the hop already
            raise broken(error, proxy.name, proxy.server) from error


def _chain(name: str, via: Outbound | Way) -> tuple[str, ...]:
    """The hops by way of `via`; this host itself counts for none."""
    return (name,) if via.is_local and not via.chain[1:] else (*via.chain, name)
