"""An outbound that is a member of a group: what its dials show goes to its health.

It is watched when a group or a rule dials by it, and as a `via`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

from byway.errors import FAULTS, Reason, Refused, Unreachable, in_words
from byway.flow import Dial, Flow, Network, Step
from byway.interfaces import Datagrams, Outbound, Stream, Way
from byway.outbounds.health import Health
from byway.outbounds.over import Over, ways_over

T = TypeVar("T")

PATIENT = 1.0
"""Seconds. A dial that was given up sooner does not count: its client changed its mind."""


class Watched:
    """The outbound, each dial by which is a `Try`."""

    only = None

    def __init__(self, inner: Outbound, health: Health) -> None:
        self.health = health
        self.name = inner.name
        self.chain = inner.chain
        self.networks = inner.networks
        self.is_local = inner.is_local
        self._inner = inner

    def ways(
        self, flow: Flow, steps: list[Step] | None = None, peek: bool = False
    ) -> Iterable[Way]:
        """Those of the outbound, watched."""
        inner, health = self._inner, self.health
        if inner.only is not None:
            return (Try(health, inner.only),)
        return ways_over(lambda way: Try(health, way), inner, flow, steps, peek)


class Try(Over):
    """One dial by a way, timed for a health. It went well also where it was of no use, because of
    what happened beyond the server that was reached by it.

    That a server lends no ports says nothing of it, and a connection that is used again was not
    dialled: neither counts.
    """

    __slots__ = ("_began", "_done", "_fault", "_given_up", "_health", "_network")

    def __init__(self, health: Health, way: Way) -> None:
        super().__init__(health, way)
        self._health = health
        self._network: Network | None = None  # of the dial that the health was not told of yet
        self._began = 0.0
        self._done: float | None = None
        self._given_up = False
        self._fault = ""

    async def connect(self, dial: Dial) -> Stream:
        """A stream to the target. Raises what the way raises."""
        return await self._timed(Network.TCP, dial, self.via.connect(dial))

    async def associate(self, dial: Dial) -> Datagrams:
        """A way for packets. Raises what the way raises."""
        return await self._timed(Network.UDP, dial, self.via.associate(dial))

    async def _timed(self, network: Network, dial: Dial, dialling: Coroutine[None, None, T]) -> T:
        clock = self._health.clock
        self._network, self._done, self._given_up, self._fault = network, None, False, ""
        self._began = clock()
        try:
            far = await dialling
        except asyncio.CancelledError:
            self._given_up = True
            raise
        except FAULTS as error:
            if is_to_blame(error, str(dial.target)):
                self._fault = in_words(error)
            raise
        self._done = clock()
        return far

    def failed(self, error: BaseException) -> bool:
        """Note whose fault it is: the error may be of a hop behind this one."""
        network, self._network = self._network, None
        if network is not None:
            health, began = self._health, self._began
            if self._done is not None:
                health.succeeded(network, began, self._done)
            elif self._fault:
                health.failed(network, began, self._fault)
            elif self._given_up and not self.is_local and health.clock() - began >= PATIENT:
                health.gave_up(network, began, "no answer in time")
        return self.via.failed(error)

    def worked(self) -> None:
        """Note that it went well."""
        network, self._network = self._network, None
        if network is not None:
            self._health.succeeded(network, self._began, self._done)
        self.via.worked()

    def ended(self, up: int, down: int, began: float) -> None:
        """Note what came back."""
        self._health.ended(up, down, began)
        self.via.ended(up, down, began)


def is_to_blame(error: BaseException, target: str) -> bool:
    """Whether a failed dial is the outbound's fault, as far as one can tell, and not the target's.

    A proxy that answers "connection refused", or just "no", does its work.
    """
    if isinstance(error, Unreachable):
        return error.hop != target
    if isinstance(error, Refused):
        return error.reason in (Reason.CREDENTIALS, Reason.LIMIT)
    return isinstance(error, FAULTS)
