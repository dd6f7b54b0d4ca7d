"""The client's end of shadowsocks."""

from __future__ import annotations

from dataclasses import dataclass

from byway.engine import Engine
from byway.errors import Reason, Refused
from byway.flow import Dial, Network, Target
from byway.interfaces import Binding, Datagrams, Stream
from byway.outbounds.reach import Reach
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
    packets_in_stream: bool = False

    async def connect(self, reach: Reach, dial: Dial) -> Stream:
        """Ask for a connection; nothing is answered."""
        connect = shadowsocks.connect
        if self.options.method.is_2022:
            connect = shadowsocks2022.connect
        return await connect(await reach.open(dial), dial.target, self.options, self.kit)

    async def associate(self, reach: Reach, dial: Dial) -> Datagrams:
        """A session of packets, which asks for nothing: each is sealed and tells its target."""
        inner, located = await reach.packets(dial.toward(self.server))
        options = self.options
        return self.engine.wrap_sealed(inner, located, options.method.name, options.keys)

    async def bind(self, reach: Reach, dial: Dial) -> Binding:
        """Refused: there is no such request."""
        raise Refused("this outbound does not support BIND", Reason.NOT_SUPPORTED)
