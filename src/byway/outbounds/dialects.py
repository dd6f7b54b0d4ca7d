"""The dialects that a `Proxy` can speak: a protocol of `byway.protocols` and its options each."""

from __future__ import annotations

from dataclasses import dataclass, field

from byway.engine import Engine
from byway.errors import Reason, Refused
from byway.flow import Network, Target
from byway.interfaces import Binding, Datagrams, Outbound, Stream
from byway.outbounds.proxy import Dialect
from byway.protocols import http, shadowsocks, shadowsocks2022, socks, trojan, uot


@dataclass(frozen=True, slots=True)
class Socks:
    """SOCKS 5, 4a or 4."""

    options: socks.SocksOptions
    engine: Engine
    controlled: bool = True
    inside: bool = False

    @property
    def networks(self) -> frozenset[Network]:
        """Only version 5 has UDP."""
        return _BOTH if self.options.version == "5" else _TCP

    @property
    def names(self) -> bool:
        """Version 4 knows addresses only."""
        return self.options.version != "4"

    async def connect(self, stream: Stream, target: Target) -> Stream:
        """Ask for a connection (RFC 1928 section 4)."""
        return await socks.connect(stream, target, self.options)

    async def associate(self, control: Stream | None, server: Target, via: Outbound) -> Datagrams:
        """Ask for a relay (RFC 1928 section 7), and open the way to it."""
        assert control is not None
        relay = await socks.associate(control, self.options, server)
        inner, located = await _toward(relay, via)
        return self.engine.wrap_socks5(inner.bare, located, control)

    async def bind(self, stream: Stream, target: Target, server: Target) -> Binding:
        """Ask for a port; the peer's connection then comes over the same stream."""
        address = await socks.bind(stream, target, self.options, server)
        return _SocksBinding(stream, address, self.options)


@dataclass(frozen=True, slots=True)
class Http:
    """HTTP CONNECT."""

    options: http.HttpOptions
    networks: frozenset[Network] = frozenset({Network.TCP})
    names: bool = True
    controlled: bool = True
    inside: bool = False

    async def connect(self, stream: Stream, target: Target) -> Stream:
        """Ask for a tunnel (RFC 9110 section 9.3.6)."""
        return await http.connect(stream, target, self.options)

    async def associate(self, control: Stream | None, server: Target, via: Outbound) -> Datagrams:
        """Refused: HTTP proxies carry no packets."""
        raise Refused("an HTTP proxy carries no UDP", Reason.NOT_SUPPORTED)

    async def bind(self, stream: Stream, target: Target, server: Target) -> Binding:
        """Refused: HTTP proxies lend no ports."""
        raise Refused("an HTTP proxy lends no ports", Reason.NOT_SUPPORTED)


class _WithoutPorts:
    """What no server of an encrypted protocol does."""

    __slots__ = ()

    async def bind(self, stream: Stream, target: Target, server: Target) -> Binding:
        """Refused: there is no such request."""
        raise Refused("this outbound lends no ports", Reason.NOT_SUPPORTED)


@dataclass(frozen=True, slots=True)
class Shadowsocks(_WithoutPorts):
    """Shadowsocks, of either edition. Packets go to `server`, also where a plugin takes streams."""

    options: shadowsocks.ShadowsocksOptions
    kit: shadowsocks.Kit
    engine: Engine
    server: Target
    networks: frozenset[Network]
    names: bool = True
    controlled: bool = False
    inside: bool = False

    async def associate(self, control: Stream | None, server: Target, via: Outbound) -> Datagrams:
        """A session of packets, which asks for nothing: each is sealed and tells its target."""
        inner, located = await _toward(self.server, via)
        options = self.options
        return self.engine.wrap_sealed(inner.bare, located, options.method.name, options.keys)

    async def connect(self, stream: Stream, target: Target) -> Stream:
        """Ask for a connection; nothing is answered."""
        if self.options.method.is_2022:
            return await shadowsocks2022.connect(stream, target, self.options, self.kit)
        return await shadowsocks.connect(stream, target, self.options, self.kit)


@dataclass(frozen=True, slots=True)
class Trojan(_WithoutPorts):
    """Trojan; its TLS is a layer."""

    password: str = field(repr=False)
    engine: Engine
    networks: frozenset[Network] = frozenset(Network)
    names: bool = True
    controlled: bool = True
    inside: bool = True

    async def associate(self, control: Stream | None, server: Target, via: Outbound) -> Datagrams:
        """Packets inside a stream of their own; nothing is answered."""
        assert control is not None
        control.hold(trojan.head(self.password, trojan.Command.ASSOCIATE))
        return self.engine.framed(control, "trojan", trojan.CRLF)

    async def connect(self, stream: Stream, target: Target) -> Stream:
        """Ask for a connection; nothing is answered."""
        return await trojan.connect(stream, target, self.password)


@dataclass(frozen=True, slots=True)
class UdpOverTcp:
    """A dialect whose packets go inside a connection that it asks for, as sing's programs do."""

    under: Dialect
    engine: Engine
    networks: frozenset[Network] = frozenset(Network)
    controlled: bool = True
    inside: bool = True

    @property
    def names(self) -> bool:
        """As the dialect below."""
        return self.under.names

    async def connect(self, stream: Stream, target: Target) -> Stream:
        """As the dialect below."""
        return await self.under.connect(stream, target)

    async def associate(self, control: Stream | None, server: Target, via: Outbound) -> Datagrams:
        """Ask for a connection to who takes packets there."""
        assert control is not None
        stream = await self.under.connect(control, uot.SERVER)
        stream.hold(uot.EACH)
        return self.engine.framed(stream, "uot", b"")

    async def bind(self, stream: Stream, target: Target, server: Target) -> Binding:
        """As the dialect below."""
        return await self.under.bind(stream, target, server)


@dataclass(frozen=True, slots=True)
class _SocksBinding:
    stream: Stream
    address: Target
    options: socks.SocksOptions

    async def accept(self) -> tuple[Stream, Target]:
        return self.stream, await socks.bound_peer(self.stream, self.options)

    def close(self) -> None:
        self.stream.close()


async def _toward(server: Target, via: Outbound) -> tuple[Datagrams, Target]:
    """A way for packets by `via`, and where the server is on it."""
    inner = await via.associate()
    try:
        return inner, await inner.locate(server)
    except BaseException:
        inner.close()
        raise


_TCP = frozenset({Network.TCP})
_BOTH = frozenset(Network)
