"""An inbound behind a SIP003 plugin, which listens in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from byway.flow import Target
from byway.interfaces import Carry, Inbound

if TYPE_CHECKING:
    from byway.system.plugin import Plugin


class Plugged:
    """The plugin listens at `public` and passes on what comes to the inner inbound."""

    def __init__(self, inner: Inbound, plugin: Plugin, public: Target) -> None:
        self.name = inner.name
        self._inner = inner
        self._plugin = plugin
        self._public = public

    @property
    def addresses(self) -> Sequence[str]:
        """Where clients come."""
        return [str(self._public)]

    async def open(self) -> None:
        """Bind, then start the plugin. Raises OSError."""
        await self._inner.open()
        await self._plugin.open()

    async def serve(self, carry: Carry) -> None:
        """Accept until cancelled, or closed and the last flow over."""
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self._plugin.serve())
            await self._inner.serve(carry)
            keeping.cancel()

    def close(self) -> None:
        """Stop accepting."""
        self._inner.close()
