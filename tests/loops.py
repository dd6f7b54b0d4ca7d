"""The event loop of the tests: one that leaves no connection of a test's own server behind.

A server of asyncio accepts in tasks: a connection that came in the moment its test ended has a
transport already and nobody yet who would close it. Its ResourceWarning would then fail whichever
test runs when the garbage is collected. Byway's own streams are the engine's, not asyncio's.
"""

from __future__ import annotations

import asyncio


class TidyLoop(asyncio.SelectorEventLoop):
    """Aborts, before it closes, what transports it still has."""

    def close(self) -> None:
        """Idempotent, as every loop's."""
        if not self.is_closed():
            for transport in tuple(self._transports.values()):  # type: ignore[attr-defined]
                transport.abort()
            self.run_until_complete(asyncio.sleep(0))
            self.run_until_complete(asyncio.sleep(0))
        super().close()


class TidyLoops(asyncio.DefaultEventLoopPolicy):
    """Makes such loops."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """A new one, of nobody's yet."""
        return TidyLoop()
