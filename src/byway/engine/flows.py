"""The tasks of flows: the engine steps them itself, from the drain, without turns of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Self

from byway import _engine
from byway.engine.engine import Engine


class Flows:
    """`async with` owns the tasks that are started in it, as a TaskGroup does.

    Leaving it waits for all of them; a cancel, or an exception that comes out of it, cancels them
    first. They end on their own: what one raises is told to the loop and harms no other.
    """

    __slots__ = ("_last", "_live", "_over", "_start")

    def __init__(self, engine: Engine) -> None:
        self._start = engine.start
        self._live: set[_engine.Task] = set()
        self._over = self._ended  # one for all tasks
        self._last: asyncio.Future[None] | None = None  # waits until none is left

    def start(self, flow: Coroutine[object, None, None]) -> None:
        """Begin a flow here and now, and go on with the caller at its first wait that lasts."""
        task = self._start(flow, self._over)
        if not task.done():
            self._live.add(task)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._cancel()
        cancelled = None
        while self._live:
            self._last = asyncio.get_running_loop().create_future()
            try:
                await self._last
            except asyncio.CancelledError as again:
                cancelled = again
                self._cancel()
        if cancelled is not None and error is None:
            raise cancelled

    def _cancel(self) -> None:
        for task in tuple(self._live):
            task.cancel()

    def _ended(self, task: _engine.Task) -> None:
        self._live.discard(task)
        if not self._live and self._last is not None and not self._last.done():
            self._last.set_result(None)
