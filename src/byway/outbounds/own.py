"""Byway's own dials by an outbound: to name servers, for lists, for probes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from byway.errors import Reason, Refused
from byway.flow import Dial, Flow, Network, Target
from byway.interfaces import Datagrams, Outbound, Stream, Way
from byway.outbounds.reach import packets_by

T = TypeVar("T")


class Own:
    """Dials by the ways of an outbound as the road does, without a place in the ledger."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def connect(self, dial: Dial) -> Stream:
        """A stream to the target. Raises what the outbound raises."""
        return await self._dialled(Network.TCP, dial, lambda way: way.connect(dial))

    async def packets(self, dial: Dial) -> tuple[Datagrams, Target]:
        """A way for packets, and the target as they are sent to it. Raises what the outbound
        raises."""
        return await self._dialled(Network.UDP, dial, lambda way: packets_by(way, dial))

    async def _dialled(self, network: Network, dial: Dial, by: Callable[[Way], Awaitable[T]]) -> T:
        for way in self._outbound.ways(Flow(0, network, "", None, dial.target)):
            try:
                far = await by(way)
            except BaseException as error:
                if not way.failed(error):
                    raise
            else:
                way.worked()
                return far
        raise Refused(f"{self._outbound.name} has no way to it", Reason.NOT_SUPPORTED)
