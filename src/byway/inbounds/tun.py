"""A virtual NIC: what programs send by it arrives here, TCP as streams and UDP as packets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from byway.engine import EngineStream, ListenOptions
from byway.errors import Reason, reason_of
from byway.flow import Network, frozen
from byway.inbounds.arrival import Connection
from byway.inbounds.diverted import Diverted
from byway.inbounds.entry import Entry
from byway.inbounds.listener import StreamInbound
from byway.inbounds.packets import PacketDoor
from byway.interfaces import Carry
from byway.system.links import bring_up
from byway.system.tun import Tun, open_tun

if TYPE_CHECKING:
    from byway.engine import EngineListener, Refusal


@frozen
class Nic:
    """What is made: a TUN of this name (none: any), with these addresses and this MTU. With
    `after_dial`, a connection is answered when the far side has answered."""

    name: str
    mtu: int
    addresses: tuple[str, ...]
    after_dial: bool


_REFUSALS: dict[Reason, Refusal] = {
    Reason.RULES: "prohibited",
    Reason.NETWORK_UNREACHABLE: "network",
    Reason.HOST_UNREACHABLE: "host",
    Reason.NAME_UNKNOWN: "host",
    Reason.TIMED_OUT: "host",
}


class TunInbound:
    """Makes the NIC, and takes what comes by it. One that is given (`made`) is taken as it is.
    `beside` has connections come by the firewall, as far as it brings them."""

    def __init__(
        self,
        entry: Entry,
        nic: Nic,
        options: ListenOptions,
        made: Tun | None = None,
        beside: Diverted | None = None,
    ) -> None:
        self.name = entry.name
        self._entry = entry
        self._nic = nic
        self._options = options
        self._tun = made
        self._given = made is not None
        self._streams = _Streams(entry, nic, options)
        self._beside = beside
        self._door = PacketDoor(entry)

    @property
    def addresses(self) -> Sequence[str]:
        """The NIC's name, and the listeners beside it."""
        beside = () if self._beside is None else self._beside.addresses
        return [*beside, f"tun:{self._tun.name if self._tun is not None else self._nic.name}"]

    @property
    def tun(self) -> Tun | None:
        """The NIC, once it is open."""
        return self._tun

    @property
    def facts(self) -> Mapping[str, str]:
        """How connections are made of packets, and what the kernel does of it."""
        offloads = None if self._tun is None else self._tun.offloads
        names = zip(("checksums", "tcp", "udp"), offloads.on if offloads else (), strict=False)
        way = "stack" if self._beside is None else "redirect"
        return {"way": way, "offloads": " ".join(name for name, on in names if on) or "none"}

    async def open(self) -> None:
        """Make it and bring it up. Raises OSError that says why."""
        nic, means = self._nic, self._entry.means
        if self._tun is None:
            self._tun = open_tun(nic.name)
        tun = self._tun
        try:
            streams, packets = means.engine.open_tun(
                tun.fd,
                tun.offloads.on,
                nic.mtu,
                nic.after_dial,
                self._options,
                means.packets,
            )
            self._streams.take(streams)
            self._door.accept_from(packets)
            if self._beside is not None:
                await self._beside.open()
            if not self._given:
                await asyncio.to_thread(bring_up, tun.name, nic.mtu, nic.addresses)
        except BaseException:
            self.close()
            raise
        finally:
            tun.close()  # the engine has a descriptor of its own

    async def serve(self, carry: Carry) -> None:
        """Accept until cancelled or closed. After a close, returns when the last flow has ended."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._streams.serve(carry))
            both.create_task(self._door.serve(carry))
            if self._beside is not None:
                both.create_task(self._beside.serve(carry))

    def is_placed_as(self, other: TunInbound) -> bool:
        """Whether both would make the same, so that this one can become the other."""
        mine, theirs = self._beside, other._beside
        beside = mine is theirs is None or (
            mine is not None and theirs is not None and mine.is_placed_as(theirs)
        )
        return beside and (self._nic, self._options, self._door.options) == (
            other._nic,
            other._options,
            other._door.options,
        )

    def become(self, other: TunInbound) -> None:
        """Describe new flows as `other` does; the NIC and its flows stay as they are."""
        self._entry = other._entry
        self._streams.become(other._streams)
        self._door.become(other._door)
        if self._beside is not None and other._beside is not None:
            self._beside.become(other._beside)

    def close(self) -> None:
        """Accept no more, and give the NIC up."""
        self._streams.close()
        self._door.close()
        if self._beside is not None:
            self._beside.close()


class _Streams(StreamInbound):
    """The connections."""

    def __init__(self, entry: Entry, nic: Nic, options: ListenOptions) -> None:
        super().__init__(entry, (), self._arrived, options)
        self._entry = entry
        self._held = nic.after_dial

    def take(self, listener: EngineListener) -> None:
        self._listeners.append(listener)

    async def _arrived(self, stream: EngineStream) -> Connection:
        target = stream.info.local
        assert target is not None
        flow = self._entry.flow(Network.TCP, stream.source, target, None, target)
        return (
            _Held(stream, flow, self._entry.means)
            if self._held
            else Connection(stream, flow, self._entry.means)
        )


class _Held(Connection):
    """A connection that is answered when it is joined, and refused in words that TCP has."""

    __slots__ = ()

    async def refuse(self, why: BaseException | None) -> None:
        """Say no: by a reset, or by the ICMP that says why; or nothing at all (`why` is None)."""
        stream = self._stream
        if not isinstance(stream, EngineStream):
            await super().refuse(why)
        elif why is None:
            # Holding it open would take a read, which tells the program yes.
            stream.refuse("silent")
        else:
            stream.refuse(_REFUSALS.get(reason_of(why), "reset"))
