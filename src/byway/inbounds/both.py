"""One inbound for TCP and UDP: connections and packets at the same addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from byway.errors import in_words
from byway.flow import Target
from byway.inbounds.listener import StreamInbound
from byway.inbounds.packets import PacketDoor
from byway.interfaces import Carry, Inbound

if TYPE_CHECKING:
    from byway.engine import Codec


class Both:
    """`streams`, if any, and a door for packets at each of `packets`.

    Where a port is any (0), packets come at the one that the streams have got.
    """

    def __init__(
        self,
        name: str,
        streams: Inbound | None,
        packets: Sequence[Target],
        door: Callable[[], PacketDoor],
        codec: Codec,
    ) -> None:
        self.name = name
        self._streams = streams
        self._packets = packets
        self._door = door
        self._codec = codec
        self._doors: list[PacketDoor] = []
        self._bound: list[str] = []

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens; packets' addresses are marked."""
        streams = [] if self._streams is None else list(self._streams.addresses)
        return [*streams, *self._bound]

    async def open(self) -> None:
        """Bind every address, or none. Raises OSError with the address in it."""
        if self._streams is not None:
            await self._streams.open()
        taken = () if self._streams is None else self._streams.addresses
        got = [place for place in taken if not place.startswith("unix:")]
        for at, address in enumerate(self._packets):
            if address.port == 0 and at < len(got):
                address = Target.of(address.host, Target.parse(got[at]).port)
            door = self._door()
            try:
                bound = door.open(address, self._codec)
            except OSError as error:
                self.close()
                why = in_words(error)
                raise OSError(error.errno, f"cannot receive packets on {address}: {why}") from error
            self._doors.append(door)
            self._bound.append(f"{bound}/udp")

    async def serve(self, carry: Carry) -> None:
        """Accept until cancelled or closed. After a close, returns when the last flow has ended."""
        async with asyncio.TaskGroup() as both:
            if self._streams is not None:
                both.create_task(self._streams.serve(carry))
            for door in self._doors:
                both.create_task(door.serve(carry))

    def is_placed_as(self, other: Both) -> bool:
        """Whether both listen alike and take packets alike, so that this can become the other."""
        mine, theirs = self._streams, other._streams
        if isinstance(mine, StreamInbound) and isinstance(theirs, StreamInbound):
            alike = mine.is_placed_as(theirs)
        else:
            alike = mine is None and theirs is None
        return (
            alike
            and (self._packets, self._codec) == (other._packets, other._codec)
            and self._door().options == other._door().options
        )

    def become(self, other: Both) -> None:
        """Greet from now on as `other` does; listeners, sessions and flows stay as they are."""
        if isinstance(self._streams, StreamInbound) and isinstance(other._streams, StreamInbound):
            self._streams.become(other._streams)
        self._door = other._door
        for door in self._doors:
            door.become(other._door())

    def close(self) -> None:
        """Stop accepting. Packet sessions end with their port."""
        if self._streams is not None:
            self._streams.close()
        for door in self._doors:
            door.close()
