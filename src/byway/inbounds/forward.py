"""The plain layer-4 proxy: a local TCP or UDP port to one fixed target."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from byway.engine import EngineStream, ListenOptions
from byway.errors import BywayError
from byway.flow import Flow, Network, Target
from byway.inbounds.entry import Entry, Means
from byway.inbounds.hearing import overhear
from byway.inbounds.listener import Address, StreamInbound
from byway.inbounds.packets import PacketDoor
from byway.interfaces import Bucket, Carry, Enough, Outbound, Relay, Stream


class Forward:
    """Listens for TCP, UDP or both; all of it goes to the target."""

    def __init__(
        self,
        entry: Entry,
        listen: Sequence[Address],
        target: Target,
        networks: frozenset[Network],
        options: ListenOptions | None = None,
    ) -> None:
        self.name = entry.name
        self._entry = entry
        self._target = target
        self._streams: StreamInbound | None = None
        self._packet_addresses: Sequence[Target] = ()
        self._doors: list[PacketDoor] = []
        self._bound: list[str] = []
        if Network.TCP in networks:
            # first=0: servers that talk first must be able to
            self._streams = StreamInbound(
                entry, listen, self._greet, replace(options or ListenOptions(), first=0)
            )
        if Network.UDP in networks:
            self._packet_addresses = [place for place in listen if isinstance(place, Target)]

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens; packets' addresses are marked."""
        streams = [] if self._streams is None else list(self._streams.addresses)
        return [*streams, *self._bound]

    async def open(self) -> None:
        """Bind every address, or none. Raises OSError with the address in it."""
        if self._streams is not None:
            await self._streams.open()
        for address in self._packet_addresses:
            door = PacketDoor(self._entry)
            try:
                bound = door.open(address, self._target)
            except OSError as error:
                self.close()
                why = error.strerror or str(error)
                raise OSError(error.errno, f"cannot take packets on {address}: {why}") from error
            self._doors.append(door)
            self._bound.append(f"{bound}/udp")

    async def serve(self, carry: Carry) -> None:
        """Accept until closed or cancelled. After a close, returns when the last flow has ended."""
        async with asyncio.TaskGroup() as both:
            if self._streams is not None:
                both.create_task(self._streams.serve(carry))
            for door in self._doors:
                both.create_task(door.serve(carry))

    def close(self) -> None:
        """Accept no more. Packet sessions end with their port."""
        if self._streams is not None:
            self._streams.close()
        for door in self._doors:
            door.close()

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

    async def dial(self, outbound: Outbound) -> Stream:
        return await outbound.connect(self.flow.target)

    async def relay(self, far: Stream, buckets: Sequence[Bucket]) -> Relay:
        return self._means.engine.relay(self._stream, far, self._means.idle, buckets)

    async def refuse(self, why: BaseException | None) -> None:
        if isinstance(why, (BywayError, OSError)):
            self._stream.abort()  # a reset says more than an end that looks like an empty answer
        self._stream.close()
