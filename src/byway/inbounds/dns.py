"""A DNS server for clients: what they ask is answered here, and there is no flow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from byway.engine import EngineStream, ListenOptions
from byway.errors import BywayError, EngineError
from byway.flow import Flow, Network, Target
from byway.inbounds.both import Both
from byway.inbounds.entry import Entry, Visit
from byway.inbounds.listener import Address, StreamInbound
from byway.inbounds.packets import PacketDoor
from byway.interfaces import Arrival, Carry, Stream, Way

Ways = Callable[[Flow], Sequence[Way]]
"""The ways for packets of a flow, whose far end answers them."""


class DnsInbound(Both):
    """Answers over UDP and TCP at the same addresses."""

    def __init__(
        self,
        entry: Entry,
        listen: Sequence[Address],
        serve_stream: Callable[[Stream, Flow], Awaitable[None]],
        ways: Ways,
        options: ListenOptions,
    ) -> None:
        self._entry = entry
        self._serve_stream = serve_stream
        self._ways = ways
        # A client that keeps its connection is not to be told that it came too late.
        streams = StreamInbound(entry, listen, self._greet, replace(options, first=0))
        places = [place for place in listen if isinstance(place, Target)]
        # All packets are for one target: whoever answers here.
        super().__init__(entry.name, streams, places, lambda: PacketDoor(entry), _HERE)

    async def serve(self, carry: Carry) -> None:
        """Answer until cancelled or closed. Nothing of it is a flow."""

        async def answered(arrival: Arrival[Any]) -> None:
            try:
                (way,) = self._ways(arrival.flow)
                relay = await arrival.relay(await arrival.dial(way), ())
                await relay.wait()
            except (BywayError, OSError, EngineError) as error:
                await arrival.refuse(error)

        await super().serve(answered)

    async def _greet(self, stream: EngineStream) -> Visit:
        entry = self._entry
        local = stream.info.local or _HERE
        flow = entry.flow(Network.TCP, stream.source, local, None, local)
        return _Conversation(stream, flow, self._serve_stream)


class _Conversation(Visit):
    """Queries over one connection."""

    __slots__ = ("_flow", "_serve", "_stream")

    def __init__(
        self, stream: Stream, flow: Flow, serve: Callable[[Stream, Flow], Awaitable[None]]
    ) -> None:
        self._stream = stream
        self._flow = flow
        self._serve = serve

    async def stay(self, carry: Carry) -> None:
        """Until the client, or a long silence, ends it."""
        await self._serve(self._stream, self._flow)


_HERE = Target.of("127.0.0.1", 53)
