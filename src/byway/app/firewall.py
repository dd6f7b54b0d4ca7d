"""The host's firewall as the generation in force needs it: what is diverted, and what may leave.

Comes in: a generation with its listeners open. Goes out: tables that are loaded, and undone at the
end. Where Byway is killed, the one of strict mode stays, which lets nothing leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from byway.app.generation import Generation
from byway.config import Config
from byway.interfaces import Inbound
from byway.ledger.log import Log
from byway.system.firewall.table import FirewallError
from byway.system.firewall.taking import Diversion

if TYPE_CHECKING:
    from byway.app.walls import Standing, Walls


class Firewall:
    """Keeps it for one app. Nothing is done for a config that does not ask for it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._standing: Standing | None = None

    @property
    def now(self) -> Walls | None:
        """What is set up; None: nothing."""
        return None if self._standing is None else self._standing.now

    async def follow(self, after: Generation, inbounds: Mapping[str, Inbound]) -> None:
        """Set up what these listeners need. Raises FirewallError, and all is as it was."""
        diversions = diversions_of(after.config, inbounds)
        if not diversions:
            await self.close()
            return
        from byway.app.walls import Standing, walls_of  # what others need not load

        walls = await asyncio.to_thread(walls_of, after.config, diversions, after.judge)
        if walls == self.now:
            return
        former = self._standing
        # Noted before: after a cancel `close` undoes what the thread does.
        self._standing = standing = former or Standing()
        try:
            await asyncio.to_thread(standing.become, walls)
        except FirewallError:
            self._standing = former
            raise
        stopped = walls.head.stopped
        self._log.info(
            "firewall is set up",
            strict=walls.strict is not None,
            rules=len(walls.head.handed),
            first_judged_here=None if stopped is None else str(stopped),
        )

    async def close(self) -> None:
        """Undo all of it, if there is any. Raises FirewallError."""
        standing, self._standing = self._standing, None
        if standing is not None:
            await asyncio.to_thread(standing.end)


def diversions_of(config: Config, inbounds: Mapping[str, Inbound]) -> Mapping[str, Diversion]:
    """What the inbounds take by a firewall that is Byway's to set up."""
    found = {
        name: config.inbounds[name].diversion(inbound.addresses)
        for name, inbound in inbounds.items()
    }
    return {name: one for name, one in found.items() if one is not None}
