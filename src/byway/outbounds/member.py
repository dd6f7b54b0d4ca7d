"""Outbounds as a group sees them: one whose dials are watched, and the way that a choice led to.

Both are the outbound that they stand for, with something added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

from byway.errors import BywayError, Reason, Refused, Unreachable, in_words
from byway.flow import Flow, Network, Target
from byway.interfaces import Binding, Datagrams, Outbound, Stream
from byway.outbounds.health import Health
from byway.trail import Trail

T = TypeVar("T")

PATIENT = 1.0
"""Seconds. A dial that was given up sooner tells nothing: its client had second thoughts."""


class Watched:
    """An outbound that is a member somewhere: what its dials show goes to its `health`."""

    def __init__(self, inner: Outbound, health: Health) -> None:
        self.health = health
        self.name = inner.name
        self.chain = inner.chain
        self.networks = inner.networks
        self.here = inner.here
        self.chooses = inner.chooses
        self._inner = inner
        self._by: dict[Outbound, Watched] = {}

    def guarded(self) -> Watched:
        """The same way, closed to this host's own addresses."""
        return self._around(self._inner.guarded())

    def lead(
        self, flow: Flow, dial: Callable[[Outbound], Coroutine[None, None, T]], trail: Trail
    ) -> Coroutine[None, None, T]:
        """Dial by it, watched."""
        if not self.chooses:
            return dial(self)
        return self._inner.lead(flow, lambda way: dial(self._around(way)), trail)

    async def connect(self, target: Target) -> Stream:
        """A stream to the target. Raises what the outbound raises."""
        return await self._watched(Network.TCP, self._inner.connect(target), str(target))

    async def associate(self) -> Datagrams:
        """A way for packets. Raises what the outbound raises."""
        return await self._watched(Network.UDP, self._inner.associate(), "")

    async def bind(self, target: Target) -> Binding:
        """Borrow a port. That many servers lend none says nothing of them."""
        return await self._inner.bind(target)

    async def _watched(self, network: Network, dial: Coroutine[None, None, T], target: str) -> T:
        health = self.health
        began = health.clock()
        try:
            done = await dial
        except asyncio.CancelledError:
            if not self.here and health.clock() - began >= PATIENT:
                health.gave_up(network, began, "no answer in time")
            raise
        except Exception as error:
            if is_to_blame(error, target):
                health.failed(network, began, in_words(error))
            raise
        health.succeeded(network, began)
        return done

    def _around(self, way: Outbound) -> Watched:
        if way is self._inner:
            return self
        made = self._by.get(way)
        if made is None:
            made = self._by[way] = Watched(way, self.health)
        return made


class Chosen:
    """The way that a group's choice led to: a member's, with the group in its chain."""

    chooses = False

    def __init__(self, group: str, way: Outbound) -> None:
        self.name = way.name
        self.chain = (group, *way.chain)
        self.networks = way.networks
        self.here = way.here
        self.connect = way.connect
        self.associate = way.associate
        self.bind = way.bind
        self._group = group
        self._way = way

    def guarded(self) -> Chosen:
        """The same way, closed to this host's own addresses."""
        return Chosen(self._group, self._way.guarded())

    def lead(
        self, flow: Flow, dial: Callable[[Outbound], Coroutine[None, None, T]], trail: Trail
    ) -> Coroutine[None, None, T]:
        """Dial by it: everything is chosen."""
        return dial(self)


def is_to_blame(error: Exception, target: str) -> bool:
    """Whether a failed dial is the outbound's fault, as far as one can tell, and not the target's.

    A proxy that answers "connection refused", or just "no", does its work.
    """
    if isinstance(error, Unreachable):
        return error.hop != target
    if isinstance(error, Refused):
        return error.reason in (Reason.CREDENTIALS, Reason.LIMIT)
    return isinstance(error, (BywayError, OSError, EOFError))
