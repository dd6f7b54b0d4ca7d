"""Silence for a while: the answer to a prober, for a time of its own, and to a dropped flow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from random import SystemRandom
from typing import TypeVar

from byway.errors import EngineError, PeerError, Refused
from byway.interfaces import Bounds, InForce, Stream

T = TypeVar("T")

SPREAD = 0.5
"""How much longer than it must a greeting may be heard out, as a part of its time."""

MOST_READS = 16  # of what a dropped client says; then its words wait unread


class Silence:
    """Where the connections of dropped flows wait for their end: for the `drop` seconds in force,
    so many as may be `held`."""

    def __init__(self, in_force: InForce[Bounds] | None = None) -> None:
        self._in_force = in_force or InForce(Bounds())
        self._ends: set[asyncio.Timeout] = set()
        self._over = False

    @property
    def held(self) -> int:
        """How many wait now."""
        return len(self._ends)

    async def hold(self, stream: Stream) -> None:
        """Hold one open without a word until its time is over, or it has left; there is no wait
        where too many wait. The caller closes it. Never fails."""
        bounds = self._in_force.now
        if self._over or self.held >= bounds.held or not bounds.drop:
            return
        end = asyncio.timeout(bounds.drop)
        self._ends.add(end)
        try:
            with contextlib.suppress(OSError, EOFError, EngineError):  # TimeoutError is an OSError
                async with end:
                    for _ in range(MOST_READS):
                        await stream.read()
                    await asyncio.sleep(bounds.drop)
        finally:
            self._ends.discard(end)

    def end(self) -> None:
        """Release all."""
        self._over = True
        for end in self._ends:
            end.reschedule(0.0)


async def greeted(stream: Stream, greeting: Awaitable[T], seconds: float) -> T:
    """The outcome of a greeting that must not show how it failed.

    When it fails, what comes is read and thrown away until the client hangs up, or its time is
    over, which is also when a client is cut that says too little. Only then it raises. Each has a
    time of its own, drawn before it says anything: `seconds`, and up to half as much more.
    """
    failure: PeerError | Refused | None = None
    try:
        async with asyncio.timeout(seconds * (1 + SPREAD * _RANDOM.random())):
            try:
                return await greeting
            except (PeerError, Refused) as error:
                failure = error
                await _heard_out(stream)
    except TimeoutError:
        if failure is None:
            raise TimeoutError("the client sent too little before the handshake timeout") from None
    assert failure is not None
    raise failure


async def _heard_out(stream: Stream) -> None:
    with contextlib.suppress(OSError, EOFError, EngineError):
        while True:
            await stream.read()


_RANDOM = SystemRandom()  # times that are known beforehand would be a pattern, too
