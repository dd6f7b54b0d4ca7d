"""The routes of this host as the generation in force needs them: what comes by virtual NICs.

Comes in: a generation whose NICs are made. Goes out: rules and routes, noted in a journal before
they are made, and undone at the end, whatever it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from byway.app.generation import Generation
from byway.interfaces import Inbound
from byway.ledger.log import Log

if TYPE_CHECKING:
    from byway.system.capture import Capture
    from byway.system.plan import Change, Guard, Journal


class Routing:
    """Keeps them for one app. Nothing is done for a config that does not ask for it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._now: tuple[Capture, ...] = ()
        self._journal: Journal | None = None
        self._guard: Guard | None = None
        self._looked = False

    @property
    def changes(self) -> Sequence[Change]:
        """What was done to the host."""
        return () if self._journal is None else self._journal.done

    async def follow(self, after: Generation, inbounds: Mapping[str, Inbound]) -> None:
        """Set up what these NICs need. Raises HostError, and all is as it was."""
        if not self._looked:
            self._looked = True
            await asyncio.to_thread(self._repair)
        captures = captures_of(after, inbounds)
        if captures == self._now:
            return
        former = self._now
        try:
            await asyncio.to_thread(self._become, captures)
        except BaseException:
            await asyncio.to_thread(self._become, former)
            raise
        self._now = captures
        self._log.info("routes are set up", nics=len(captures), changes=len(self.changes))

    async def close(self) -> None:
        """Undo all of it, if there is any. Raises HostError."""
        self._now = ()
        if self._journal is not None:
            await asyncio.to_thread(self._become, ())

    def _repair(self) -> None:
        """Undo what a Byway left that was killed, whatever this one needs."""
        from byway.system import plan

        try:
            for words in plan.repair():
                self._log.warning("undone: an ended Byway had left it", what=words)
        except plan.HostError as error:
            self._log.warning("something that an ended Byway left stays", error=error)

    def _become(self, captures: Sequence[Capture]) -> None:
        from byway.system import plan, routing  # what others need not load
        from byway.system.capture import plan_of

        if self._journal is not None:
            self._journal.undo()
        if not captures:
            if self._guard is not None:
                self._guard.close()
            self._journal = self._guard = None
            return
        if self._journal is None:
            self._journal = plan.journal()
            self._guard = plan.Guard(self._journal.path)
        for capture in captures:
            taken = [*routing.priorities(4), *routing.priorities(6)]
            for change in plan_of(capture, taken, routing.addresses()):
                self._journal.make(change)


def captures_of(after: Generation, inbounds: Mapping[str, Inbound]) -> tuple[Capture, ...]:
    """What is to come by the NICs of these inbounds."""
    answers = after.config.dns is not None and after.config.dns.hijack
    found = (after.config.inbounds[name].capture(answers) for name in inbounds)
    return tuple(one for one in found if one is not None)
