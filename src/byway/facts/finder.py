"""Finds facts: the one place that knows the source of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, cast

from byway.errors import Unreachable
from byway.flow import UNHEARD, Flow, Network, Process, Sniffed
from byway.interfaces import Bounds, Enough, InForce, Resolver
from byway.rules import NO_FACTS, Fact, Facts, Lacks, Said
from byway.sealing import Ciphers
from byway.system.neighbours import mac_of
from byway.system.processes import NOBODY, Owners

if TYPE_CHECKING:
    from byway.facts.flow_names import FlowNames
    from byway.facts.python import Function, Script
    from byway.facts.workers import Pool

MAC_KEPT = 3.0  # seconds
MOST_DEVICES = 4096
MOST_FAULTS = 256  # of functions that are logged
LEFT = 30.0  # seconds that flows of a former config have for their questions

Hear = Callable[[Enough, float], Awaitable[None]]
"""`Arrival.hear` of the flow in question."""


class Finder:
    """Asks the resolver for addresses, the clock for the time, the kernel for processes, the near
    side for its first bytes (for at most the `sniff` seconds in force), and functions for what they
    say.

    `tell` is told of a function and what went wrong in it, once of each fault. `listed` gives the
    addresses of a name for which nobody has to be asked, and None for all others.
    """

    def __init__(
        self,
        resolver: Resolver,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        ciphers: Ciphers | None = None,
        in_force: InForce[Bounds] | None = None,
        tell: Callable[[str, str], None] = lambda function, note: None,
        listed: Callable[[str], Sequence[bytes] | None] = lambda name: None,
        names: FlowNames | None = None,
    ) -> None:
        self.names = names
        """Knows the names of addresses; None: nobody does."""
        self._listed = listed
        self._in_force = in_force or InForce(Bounds())
        self._tell = tell
        self._told: set[str] = set()
        self._pools: dict[tuple[Script, bool], Pool] = {}
        self._ciphers = ciphers
        self._resolver = resolver
        self._now = now
        self._owners = Owners()
        self._macs: dict[bytes, tuple[float, str]] = {}

    def begin(self, flow: Flow, given: Facts = NO_FACTS) -> Facts:
        """The facts of a flow that need no look-up, with the given ones."""
        if flow.known is not None and flow.target.packed is not None and given.addresses is None:
            return replace(given, addresses=(flow.target.packed,), open=True)
        if flow.target.packed is None and given.addresses is None:
            found = self._listed(flow.target.host)
            if found is not None:
                return replace(given, addresses=tuple(found), open=True)
        return given

    async def named(self, flow: Flow, hear: Hear | None = None) -> tuple[Facts, Flow]:
        """The flow with the name of its target, where that is an address whose name is known; and
        what was found out on the way. Raises Refused for an address that leads nowhere."""
        names = self.names
        if names is None or flow.target.packed is None:
            return NO_FACTS, flow
        flow = names.of(flow)
        if not names.sniffs(flow):
            return NO_FACTS, flow
        facts = await self.find(Lacks(Fact.SNIFFED), flow, NO_FACTS, hear)
        return facts, names.sniffed(flow, facts.sniffed)

    async def find(
        self, lacking: Lacks, flow: Flow, known: Facts, hear: Hear | None = None
    ) -> Facts:
        """`known` and this fact. What cannot be found out is empty, so that the judge goes on.

        `hear` is how the flow's first bytes are had; None for a flow that has none.
        """
        fact = lacking.fact
        if fact is Fact.ADDRESS:
            return replace(known, addresses=await self._addresses(flow))
        if fact is Fact.MOMENT:
            return replace(known, moment=self._now())
        if fact is Fact.PROCESS:
            return replace(known, process=await self._process(flow))
        if fact is Fact.MAC:
            return replace(known, mac=await self._mac(flow))
        if fact is Fact.SNIFFED:
            return replace(known, sniffed=await self._sniffed(flow, hear))
        if fact is Fact.ANSWER and lacking.function is not None:
            function = cast("Function", lacking.function)  # no other has rules ask for it
            said = await self._said(function, flow, known)
            return replace(known, answers=(*known.answers, (function, said)))
        raise ValueError(f"cannot find {fact}")

    async def _sniffed(self, flow: Flow, hear: Hear | None) -> Sniffed:
        """The facts in the first bytes, once they are enough or their time is over."""
        if hear is None:
            return UNHEARD
        from byway.facts.sniffing import sniff_packets, sniff_stream  # of use where rules ask

        found = UNHEARD

        def enough(pieces: Sequence[bytes]) -> bool:
            nonlocal found
            if flow.network is Network.TCP:
                found, done = sniff_stream(pieces[0])
            elif self._ciphers is None:
                return True
            else:
                found, done = sniff_packets(pieces, self._ciphers)
            return done

        await hear(enough, self._in_force.now.sniff)
        return found

    async def _said(self, function: Function, flow: Flow, known: Facts) -> Said:
        """The answer of a rule's function; each of its faults is logged once."""
        said = await function.answer(flow, known, self._pool(function))
        if said.note and said.place not in self._told and len(self._told) < MOST_FAULTS:
            self._told.add(said.place)
            self._tell(function.name, said.note)
        return said

    def follow(self, functions: Iterable[Function]) -> None:
        """Have processes ready for these functions, and end those of others once their last
        questions are answered."""
        wanted = {self._pool(function) for function in functions}
        for pool in wanted:
            pool.warm()
        going = [key for key, pool in self._pools.items() if pool not in wanted]
        if going:
            asyncio.get_running_loop().call_later(LEFT, self._end, going)

    def _pool(self, function: Function) -> Pool:
        from byway.facts.workers import Pool  # of use where rules are in Python

        key = (function.script, function.side_by_side)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(function.script.source, function.side_by_side)
        return pool

    def _end(self, pools: Iterable[tuple[Script, bool]]) -> None:
        for key in pools:
            if (pool := self._pools.pop(key, None)) is not None:
                pool.close()

    def close(self) -> None:
        """Let go of what it has begun."""
        self._end(tuple(self._pools))

    async def _process(self, flow: Flow) -> Process:
        """The process behind a source. Not remembered: the next flow from it may be another's."""
        source, hop = flow.source, flow.hop
        if source is None:
            return NOBODY
        if hop is not None:
            return await asyncio.to_thread(self._owners.of, source, hop.network, hop.end)
        for network in (flow.network, *(one for one in Network if one is not flow.network)):
            found = await asyncio.to_thread(self._owners.of, source, network)
            if found is not NOBODY:  # packets may have come in a connection
                break
        return found

    async def _mac(self, flow: Flow) -> str:
        """Of the device behind a source, remembered for a few seconds: addresses move on."""
        packed = None if flow.source is None else flow.source.packed
        if packed is None:
            return ""
        now = asyncio.get_running_loop().time()
        found = self._macs.get(packed)
        if found is None or found[0] < now:
            try:
                mac = await asyncio.to_thread(mac_of, packed)
            except OSError:
                mac = ""
            if len(self._macs) >= MOST_DEVICES:
                self._macs.clear()
            self._macs[packed] = found = (now + MAC_KEPT, mac)
        return found[1]

    async def _addresses(self, flow: Flow) -> tuple[bytes, ...]:
        target = flow.target
        if target.packed is not None:
            return (target.packed,)
        try:
            return tuple(await self._resolver.resolve(target.full))
        except (Unreachable, OSError):
            return ()
