"""Loops that form at run time: a flow that leaves from here and comes in again, and again.

Dials that end at a listener of ours are noted by their sockets, with how many turns they have made;
of packets the kernel's table tells whether their socket is ours, as it does of what a firewall
diverts here. Nothing of it costs other dials more than a look for the port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from byway.dns.lookups import ASKER
from byway.errors import Reason, Refused
from byway.flow import Flow, Network, Target
from byway.interfaces import PORTLESS, InForce, Stream
from byway.system.own import is_near
from byway.system.processes import is_ours

MOST_TURNS = 8  # a client may chain through one proxy more than once, but nobody so often
MOST_SOCKETS = 4096
LATELY = 10.0  # seconds: the next turn of a loop comes at once
PATIENCE = 50  # milliseconds

S = TypeVar("S", bound=Stream)

Own = Callable[[bytes], bool]


Places = Mapping[int, Sequence[tuple[str, Network, bytes]]]
"""Where an app listens, by port: the inbound, what it takes there, and the address."""


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where the listeners in force are."""

    places: Places = field(default_factory=dict)
    diverting: bool = False
    """Whether a firewall sends connections of others here, and so perhaps our own."""


class Loops:
    """Knows where an app listens. `own` says which addresses are this host's."""

    def __init__(self, own: Own, in_force: InForce[Listening]) -> None:
        self._own = own
        self._in_force = in_force
        self._sockets: dict[Target, int] = {}  # those dialled to us, and their turns
        self._packets: dict[str, tuple[int, float]] = {}  # the same of packets, by inbound; when
        self._dialling = 0  # how many are not noted yet
        self._lately: dict[tuple[Network, Target], float] = {}  # what was dialled; when

    async def entering(self, network: Network, targets: Sequence[Target]) -> int:
        """How many times the flow that is about to be dialled to these addresses will have come in
        again; 0: they are no listener of ours. Raises Refused where that is too often."""
        listening = self._in_force.now
        places = listening.places
        for target in targets:
            if listening.diverting:
                self._note(network, target)
            if target.port in places and (inbound := self._at(places, network, target)) is not None:
                flow = ASKER.get()
                turns = 1 if flow is None else 1 + await self._turns(flow)
                if turns > MOST_TURNS:
                    assert flow is not None
                    raise Refused(
                        f"loop: this flow left from here and came back by the inbound"
                        f" {flow.inbound} {MOST_TURNS} times, and would go to {target}, the"
                        f" inbound {inbound}",
                        Reason.RULES,
                        "let the server or the target be another host, or another port",
                    )
                if network is Network.UDP:
                    self._packets[inbound] = turns, asyncio.get_running_loop().time()
                return turns
        return 0

    async def is_own(self, flow: Flow) -> bool:
        """Whether a flow that a firewall diverted here is a dial of this process. Takes a moment
        where one to that target was made lately by this host, and no time else."""
        source, target = flow.source, flow.target
        if source is None or source.packed is None:
            return False
        when = self._lately.get((flow.network, target))
        if when is None or asyncio.get_running_loop().time() - when >= LATELY:
            return False
        if not (is_near(source.packed) or self._own(source.packed)):
            return False
        return await asyncio.to_thread(is_ours, source, flow.network, target)

    def _note(self, network: Network, target: Target) -> None:
        key = network, target
        if key not in self._lately and len(self._lately) >= MOST_SOCKETS:
            del self._lately[next(iter(self._lately))]
        self._lately[key] = asyncio.get_running_loop().time()

    async def dialled(self, turns: int, dial: Coroutine[None, None, S]) -> S:
        """Note the socket of a dial that comes in again."""
        self._dialling += 1
        try:
            stream = await dial
            local = stream.info.local
            if local is not None:
                if len(self._sockets) >= MOST_SOCKETS:
                    del self._sockets[next(iter(self._sockets))]
                self._sockets[local] = turns
            return stream
        finally:
            self._dialling -= 1

    def _at(self, places: Places, network: Network, target: Target) -> str | None:
        """The inbound that such a dial ends at."""
        packed = target.packed
        for inbound, taken, place in places[target.port]:
            if taken is network and packed is not None and len(packed) == len(place):
                here = is_near(packed) or self._own(packed)
                if packed == place or (here and not (any(place) and any(packed))):
                    return inbound
        return None

    async def _turns(self, flow: Flow) -> int:
        """How many times a flow has come in again."""
        source = flow.source
        if source is None or source.packed is None:
            return 0
        if not (is_near(source.packed) or self._own(source.packed)):
            return 0
        if flow.network is Network.TCP or source in self._sockets:
            for _ in range(PATIENCE):  # it may have come in before its dial was noted
                if source in self._sockets or not self._dialling:
                    break
                await asyncio.sleep(0.001)
            return self._sockets.get(source, 0)
        turns, when = self._packets.get(flow.inbound, (0, 0.0))
        if not turns or asyncio.get_running_loop().time() - when >= LATELY:
            return 0
        hop = flow.hop
        if hop is None:
            return turns if await asyncio.to_thread(is_ours, source) else 0
        ours = await asyncio.to_thread(is_ours, source, hop.network, hop.end)
        return turns if ours else 0


def places_of(addresses: Mapping[str, Sequence[str]]) -> Places:
    """The places of listeners: for each inbound `address:port`, with `/udp` behind it where packets
    are taken."""
    places: dict[int, list[tuple[str, Network, bytes]]] = {}
    for inbound, texts in addresses.items():
        for text in texts:
            if text.startswith(PORTLESS):
                continue
            place, _, udp = text.partition("/")
            target = Target.parse(place)
            if target.packed is not None:
                network = Network.UDP if udp else Network.TCP
                places.setdefault(target.port, []).append((inbound, network, target.packed))
    return places
