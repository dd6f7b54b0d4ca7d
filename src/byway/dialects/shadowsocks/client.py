"""The client's end of shadowsocks."""

from __future__ import annotations

from dataclasses import dataclass

from byway.engine import Engine
from byway.errors import Reason, Refused
from byway.flow import Dial, Network, Target
from byway.interfaces import Binding, Datagrams, Stream, Way
from byway.outbounds.proxy import toward
from byway.protocols import shadowsocks, shadowsocks2022


@dataclass(frozen=True, slots=True)
class ShadowsocksClient:
    """Of either edition. Packets go to `server`, also where a plugin takes streams."""

    options: shadowsocks.ShadowsocksOptions
    kit: shadowsocks.Kit
    engine: Engine
    server: Target
    networks: frozenset[Network]
    carries_names: bool = True
    needs_control: bool = False
    packets_in_stream: bool = False

    async def connect(self, stream: Stream, target: Target) -> Stream:
        """Ask for a connection; nothing is answered."""
        if self.options.method.is_2022:
            return await shadowsocks2022.connect(stream, target, self.options, self.kit)
        return await shadowsocks.connect(stream, target, self.options, self.kit)

    async def associate(self, control: Stream | None, server: Dial, via: Way) -> Datagrams:
        """A session of packets, which asks for nothing: each is sealed and tells its target."""
        inner, located = await toward(server.toward(self.server), via)
        options = self.options
        return self.engine.wrap_sealed(inner, located, options.method.name, options.keys)

    async def bind(self, stream: Stream, target: Target, server: Target) -> Binding:
        """Refused: there is no such request."""
        raise Refused("this outbound lends no ports", Reason.NOT_SUPPORTED)
