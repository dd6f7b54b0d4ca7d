"""Finds facts: the one place that knows who can tell what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from byway.errors import Unreachable
from byway.flow import Flow
from byway.interfaces import Resolver
from byway.rules import Fact, Facts


class Finder:
    """Asks the resolver for addresses, and the clock for the time."""

    def __init__(
        self, resolver: Resolver, now: Callable[[], datetime] = lambda: datetime.now().astimezone()
    ) -> None:
        self._resolver = resolver
        self._now = now

    async def find(self, fact: Fact, flow: Flow, known: Facts) -> Facts:
        """`known` and this fact. What cannot be found out is empty, so that the judge goes on."""
        if fact is Fact.ADDRESS:
            return replace(known, addresses=await self._addresses(flow))
        if fact is Fact.MOMENT:
            return replace(known, moment=self._now())
        raise ValueError(f"nobody knows how to find {fact}")

    async def _addresses(self, flow: Flow) -> tuple[bytes, ...]:
        target = flow.target
        if target.packed is not None:
            return (target.packed,)
        try:
            return tuple(await self._resolver.resolve(target.host))
        except (Unreachable, OSError):
            return ()
