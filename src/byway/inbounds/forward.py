"""The plain layer-4 proxy: a local TCP or UDP port to one fixed target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from byway.engine import EngineStream, ListenOptions
from byway.flow import Network, Target
from byway.inbounds.arrival import Connection
from byway.inbounds.both import Both
from byway.inbounds.entry import Entry
from byway.inbounds.listener import Address, StreamInbound
from byway.inbounds.packets import PacketDoor


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

    async def _greet(self, stream: EngineStream) -> Connection:
        entry = self._entry
        flow = entry.flow(Network.TCP, stream.source, self._target, None, stream.info.local)
        return Connection(stream, flow, entry.means)
