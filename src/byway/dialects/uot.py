"""UDP over TCP: a client whose packets ride inside a connection that another client asks for."""

from __future__ import annotations

from dataclasses import dataclass

from byway.engine import Engine
from byway.flow import Network, Target
from byway.interfaces import Binding, Datagrams, Outbound, Stream
from byway.outbounds.proxy import Client
from byway.protocols import uot


@dataclass(frozen=True, slots=True)
class UdpOverTcp:
    """As `under` in all but packets."""

    under: Client
    engine: Engine
    networks: frozenset[Network] = frozenset(Network)
    needs_control: bool = True
    packets_in_stream: bool = True

    @property
    def carries_names(self) -> bool:
        """As the client below."""
        return self.under.carries_names

    async def connect(self, stream: Stream, target: Target) -> Stream:
        """As the client below."""
        return await self.under.connect(stream, target)

    async def associate(self, control: Stream | None, server: Target, via: Outbound) -> Datagrams:
        """Ask for a connection to who takes packets there."""
        assert control is not None
        stream = await self.under.connect(control, uot.SERVER)
        stream.hold(uot.EACH)
        return self.engine.framed(stream, "uot", b"")

    async def bind(self, stream: Stream, target: Target, server: Target) -> Binding:
        """As the client below."""
        return await self.under.bind(stream, target, server)
