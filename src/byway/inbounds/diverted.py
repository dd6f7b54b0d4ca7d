"""Flows that a firewall diverts here: each keeps the target that it had.

By NAT (nftables' redirect) the kernel remembers where a connection wanted to go; by tproxy the
packets come as they are, and this host answers with the target's address. Nothing is spoken: what
is refused sees a reset.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from byway.engine import EngineStream, ListenOptions
from byway.errors import Reason, Refused, Unreachable
from byway.flow import Flow, Network, Target
from byway.inbounds.arrival import Connection
from byway.inbounds.both import Both
from byway.inbounds.entry import Entry
from byway.inbounds.listener import Address, StreamInbound
from byway.inbounds.packets import PacketDoor
from byway.interfaces import Arrival, Carry

Asked = Callable[[EngineStream], Target]
"""Where a connection was sent to. Raises OSError."""

Returned = Callable[[Flow], Awaitable[bool]]
"""Whether a flow is a dial of our own."""


class Diverted(Both):
    """Takes diverted connections, packets, or both. `own` says which addresses are this host's:
    what was sent to the listener itself has no other target, and is refused; so is a dial
    of our own that `returned`, as it would do for ever."""

    def __init__(
        self,
        entry: Entry,
        listen: Sequence[Address],
        networks: frozenset[Network],
        asked: Asked,
        options: ListenOptions,
        own: Callable[[bytes], bool],
        returned: Returned | None,
    ) -> None:
        self._entry = entry
        self._asked = asked
        self._own = own
        self._returned = returned
        streams, packets = None, []
        if Network.TCP in networks:
            # first=0: servers that talk first must be able to
            streams = StreamInbound(entry, listen, self._greet, replace(options, first=0))
        if Network.UDP in networks:
            packets = [place for place in listen if isinstance(place, Target)]
        super().__init__(entry.name, streams, packets, lambda: PacketDoor(entry), "diverted")

    async def serve(self, carry: Carry) -> None:
        """Accept until cancelled or closed. After a close, returns when the last flow has ended."""
        ports = {Target.parse(place.removesuffix("/udp")).port for place in self.addresses}

        async def carried(arrival: Arrival[Any]) -> None:
            why = await self._wrong(arrival.flow, ports)
            if why is None:
                await carry(arrival)
            else:
                flow, log = arrival.flow, self._entry.means.log
                await arrival.refuse(why)
                log.warning("refused", inbound=flow.inbound, source=flow.source, error=why)

        await super().serve(carried)

    async def _greet(self, stream: EngineStream) -> Connection:
        entry = self._entry
        try:
            target = self._asked(stream)
        except OSError as error:
            stream.abort()
            raise Unreachable(
                "the kernel does not know where this connection was sent to: no firewall of this"
                " host redirected it",
                "",
                Reason.FAILURE,
            ) from error
        flow = entry.flow(Network.TCP, stream.source, target, None, target)
        return Connection(stream, flow, entry.means)

    async def _wrong(self, flow: Flow, ports: set[int]) -> Refused | None:
        """Why a flow is not to be carried, if so."""
        target = flow.target
        if target.port in ports and target.packed is not None and self._own(target.packed):
            return Refused(
                f"sent to {target} itself, where only what a firewall diverts is taken",
                Reason.RULES,
                "programs need no setting for it: remove it as their proxy",
            )
        if self._returned is not None and await self._returned(flow):
            return Refused(
                f"loop: this is Byway's own way to {target}, which the firewall diverted back",
                Reason.RULES,
                "exempt what Byway sends in the firewall's rules, by its mark or its user",
            )
        return None


def redirected(stream: EngineStream) -> Target:
    """Where a connection was sent to before NAT redirected it. Raises OSError."""
    return stream.asked


def kept(stream: EngineStream) -> Target:
    """Where a connection was sent to that came as it was: this side's address. Raises OSError."""
    local = stream.info.local
    if local is None:
        raise OSError("a connection without an address")
    return local
