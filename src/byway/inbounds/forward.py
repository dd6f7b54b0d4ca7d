"""The plain layer-4 proxy: a local TCP or UDP port to one fixed target."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import replace

from byway.engine import EngineStream, ListenOptions
from byway.flow import Flow, Network, Target
from byway.inbounds.both import Both
from byway.inbounds.entry import Entry, Means
from byway.inbounds.hearing import overhear
from byway.inbounds.listener import Address, StreamInbound
from byway.inbounds.packets import PacketDoor
from byway.interfaces import Bucket, Enough, Outbound, Relay, Stream


class Forward(Both):
    """Listens for TCP, UDP or both; all of it goes to the target."""

    def __init__(
        self,
        entry: Entry,
        listen: Sequence[Address],
        target: Target,
        networks: frozenset[Network],
        options: ListenOptions | None = None,
    ) -> None:
        self._entry = entry
        self._target = target
        streams, packets = None, []
        if Network.TCP in networks:
            # first=0: servers that talk first must be able to
            options = replace(options or ListenOptions(), first=0)
            streams = StreamInbound(entry, listen, self._greet, options)
        if Network.UDP in networks:
            packets = [place for place in listen if isinstance(place, Target)]
        super().__init__(entry.name, streams, packets, lambda: PacketDoor(entry), target)

    async def _greet(self, stream: EngineStream) -> _Forwarded:
        entry = self._entry
        flow = entry.flow(Network.TCP, stream.source, self._target)
        return _Forwarded(stream, flow, entry.means)


class _Forwarded:
    """A connection with nothing to tell it by: yes is the far side's bytes, no is a close."""

    __slots__ = ("_means", "_stream", "flow")

    def __init__(self, stream: EngineStream, flow: Flow, means: Means) -> None:
        self.flow = flow
        self._stream = stream
        self._means = means

    async def hear(self, enough: Enough, within: float) -> None:
        await overhear(self._stream, enough, within)

    def dial(self, outbound: Outbound) -> Coroutine[None, None, Stream]:
        return outbound.connect(self.flow.target)

    async def relay(self, far: Stream, buckets: Sequence[Bucket]) -> Relay:
        return self._means.engine.relay(self._stream, far, self._means.idle, buckets)

    async def refuse(self, why: BaseException | None) -> None:
        if why is None:
            await self._means.silence.hold(self._stream)
        else:
            self._stream.abort()  # a reset says more than an end that looks like an empty answer
        self._stream.close()
