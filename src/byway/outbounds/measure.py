"""Delay and throughput of several ways out, side by side: what `byway probe` shows.

Comes in: ways by their names, and a plan. Goes out: what happens, as it happens. Every number of
the plan is a bound, so that no server decides how long it takes or how much is moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from byway.errors import FAULTS, Unreachable, in_words
from byway.interfaces import Outbound
from byway.outbounds.member import Watched
from byway.outbounds.own import Own
from byway.outbounds.probe import Asking, Mute, Secure, Timed, probed
from byway.protocols.web_address import WebAddress

TELLING = 0.25
"""Seconds between two words about how far a load is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The questions to each way: `times` answers from `delay`, then as much of `load` as fits into
    `most` bytes and `seconds`; `load` None: none of it. `at_once` loads run side by side.
    """

    delay: Asking
    load: WebAddress | None = None
    times: int = 3
    most: int = 10_000_000
    seconds: float = 5.0
    at_once: int = 1


@dataclass(slots=True)
class Measure:
    """The findings about one way. Times are seconds, `rate` is bytes a second; None: unknown.

    `dial` and `answer` are of the quickest of the probes. `hop` is the failed one, where known.
    """

    name: str
    dial: float | None = None
    answer: float | None = None
    moved: int = 0
    rate: float | None = None
    error: str = ""
    hop: str = ""
    done: bool = False
    phase: str = "delay"


DELAYS_AT_ONCE = 8

READ = 256 * 1024


async def measured(
    ways: Mapping[str, Outbound], plan: Plan, secure: Secure
) -> AsyncGenerator[Measure, None]:
    """Measure all of them; each `Measure` comes whenever there is something new in it, and a last
    time when it is done. Closing the generator ends everything."""
    news: asyncio.Queue[Measure] = asyncio.Queue()
    delays, loads = asyncio.Semaphore(DELAYS_AT_ONCE), asyncio.Semaphore(plan.at_once)

    async def one(name: str, way: Outbound) -> None:
        found = Measure(name)
        try:
            async with delays:
                news.put_nowait(found)
                await _delay(way, found, plan)
            if plan.load is not None:
                async with loads:
                    found.phase = "load"
                    news.put_nowait(found)
                    await _load(way, found, plan, plan.load)
        except FAULTS as error:
            found.error = in_words(error)
            found.hop = error.hop if isinstance(error, Unreachable) else ""
        found.done = True
        news.put_nowait(found)

    async def _delay(way: Outbound, found: Measure, plan: Plan) -> None:
        for _ in range(plan.times):
            timed = await _noted(way, plan.delay, secure)
            timed.stream.close()
            least = (found.dial or 0.0) + (found.answer or 0.0)
            if found.dial is None or timed.dial + timed.answer < least:
                found.dial, found.answer = timed.dial, timed.answer
            news.put_nowait(found)

    async def _load(way: Outbound, found: Measure, plan: Plan, place: WebAddress) -> None:
        asking = Asking(place, (200, 206), max(plan.delay.timeout, plan.seconds))
        timed = await probed(Own(way), asking, secure)
        length = timed.head.body.length
        most = plan.most if length is None else min(plan.most, length)
        clock = asyncio.get_running_loop().time
        began = shown = clock()
        try:
            # As it comes, chunk heads and all: what counts is what the way carries.
            async with asyncio.timeout(plan.seconds):
                while found.moved < most:
                    found.moved += len(await timed.stream.read(READ))
                    if clock() - shown >= TELLING:
                        shown = clock()
                        found.rate = found.moved / (shown - began)
                        news.put_nowait(found)
        except TimeoutError:
            pass  # enough
        except EOFError:
            if length is not None:
                raise Mute(
                    f"{place.authority} closed the connection after {found.moved} bytes"
                ) from None
        except OSError as error:
            raise Mute(f"{place.authority}: {in_words(error)}") from error
        finally:
            timed.stream.close()
        found.rate = found.moved / max(clock() - began, 1e-6)

    async with asyncio.TaskGroup() as tasks:
        begun = [tasks.create_task(one(name, way)) for name, way in ways.items()]
        left = len(begun)
        try:
            while left:
                found = await news.get()
                yield found
                left -= found.done
        except GeneratorExit:  # the group would take it for an error
            for task in begun:
                task.cancel()


async def _noted(way: Outbound, asking: Asking, secure: Secure) -> Timed:
    """A probe whose outcome a member's group learns, too."""
    if not isinstance(way, Watched):
        return await probed(Own(way), asking, secure)
    health = way.health
    began = health.clock()
    try:
        timed = await probed(Own(way), asking, secure)
    except Mute as error:
        health.unanswered(began, f"probe: {in_words(error)}")
        raise
    health.answered(timed.answer)
    return timed
