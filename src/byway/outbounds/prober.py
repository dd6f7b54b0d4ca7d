"""Probes members that no flow tests, as long as their group is in use. Nothing is probed before.

`due` gives the time, and is pure; the `Prober` waits until then, and probes a few at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

from byway.errors import FAULTS, in_words
from byway.flow import Network, State
from byway.interfaces import Outbound
from byway.outbounds.chooser import Chooser, Standing
from byway.outbounds.health import Health
from byway.outbounds.own import Own
from byway.outbounds.probe import Asking, Mute, Secure, probed

AT_ONCE = 8
"""Probes under way."""

LEAST_PAUSE = 1.0
"""Seconds between two looks at what is due."""


@dataclass(frozen=True, slots=True)
class Probing:
    """A group that is probed: its mind, what is asked, and how often (seconds)."""

    chooser: Chooser
    asking: Asking
    every: float


def due(probing: Probing, health: Health, now: float) -> float | None:
    """When a member is to be probed next; None: not as long as its group is out of use."""
    chooser = probing.chooser
    if chooser.used is None or now - chooser.used >= probing.every:
        return None
    score = health.score(Network.TCP)
    probed_at = float("-inf") if health.probed is None else health.probed
    match score.state(now):
        case State.OUT:
            return score.out
        case State.TRIAL:
            return max(now, probed_at + LEAST_PAUSE)
    if score.answer is None and chooser.compares:
        return max(now, probed_at + probing.every)
    seen = float("-inf") if score.seen is None else score.seen
    return max(now, seen + probing.every, probed_at + probing.every)


def leaves(chooser: Chooser) -> Iterator[Health]:
    """The outbounds that the members of a group are now: of a group in it, its first choice."""
    for member in chooser.standings:
        found: Standing | None = member
        while isinstance(found, Chooser):
            found = found.first()
        if isinstance(found, Health):
            yield found


class Prober:
    """Probes what is due. `wait` is handed in for tests, time is the choosers'."""

    def __init__(
        self,
        secure: Secure,
        clock: Callable[[], float],
        wait: Callable[[asyncio.Event, float | None], Awaitable[None]] | None = None,
    ) -> None:
        self.probes = 0  # in all
        self._secure = secure
        self._clock = clock
        self._wait = _pause if wait is None else wait
        self._woken = asyncio.Event()
        self._probing: list[Probing] = []
        self._ways: Mapping[str, Outbound] = {}

    def follow(self, probing: list[Probing], ways: Mapping[str, Outbound]) -> None:
        """Probe these from now on."""
        self._probing, self._ways = probing, ways
        self.wake()

    def wake(self) -> None:
        """Something changed: look again what is due."""
        self._woken.set()

    async def serve(self) -> None:
        """Probe until cancelled."""
        room = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as probes:
            while True:
                self._woken.clear()
                await self._wait(self._woken, self._started(probes, room))

    def _started(self, probes: asyncio.TaskGroup, room: asyncio.Semaphore) -> float | None:
        """Start what is due; the seconds until something else is, None: at a wake-up."""
        now = self._clock()
        next_look: float | None = None
        for probing in self._probing:
            for health in leaves(probing.chooser):
                if health.probing or health.name not in self._ways:
                    continue
                when = due(probing, health, now)
                if when is None:
                    probing.chooser.awaited = self.wake
                    break
                if when <= now:
                    health.probing = True
                    probes.create_task(self._probe(probing, health, room))
                else:
                    next_look = when if next_look is None else min(next_look, when)
        return None if next_look is None else max(next_look - now, LEAST_PAUSE)

    async def _probe(self, probing: Probing, health: Health, room: asyncio.Semaphore) -> None:
        try:
            async with room:
                self.probes += 1
                await probe_member(self._ways[health.name], health, probing.asking, self._secure)
        finally:
            health.probing = False
            self.wake()


async def probe_member(way: Outbound, health: Health, asking: Asking, secure: Secure) -> None:
    """Probe a member, and note what is found."""
    began = health.probed = health.clock()
    try:
        found = await probed(Own(way), asking, secure, health.clock)
    except Mute as error:
        health.unanswered(began, f"probe: {in_words(error)}")
    except FAULTS as error:
        score = health.score(Network.TCP)
        if score.seen is None or score.seen < began:  # it blamed the target, and the target is well
            health.unanswered(began, f"probe: {error or type(error).__name__}")
    else:
        found.stream.close()
        health.answered(found.answer)


async def _pause(woken: asyncio.Event, seconds: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()
