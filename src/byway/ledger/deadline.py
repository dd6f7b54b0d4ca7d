"""A time limit that many tasks share: one timer for all of them.

Handshakes and dials begin and end thousands of times a second and hardly ever run out of time, so
their limit has to cost next to nothing.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Deadline:
    """`with deadline:` raises TimeoutError(what) in the task that stays inside for too long.

    A task uses a Deadline at most once at a time; different Deadlines may nest. A limit is kept
    within an eighth more than its seconds. Whoever is interrupted may note on the CancelledError
    what it was waiting for; the first note is told.
    """

    __slots__ = ("_ends", "_loop", "_timer", "seconds", "what")

    def __init__(self, seconds: float, what: str) -> None:
        self.seconds = seconds
        self.what = what
        self._ends: dict[asyncio.Task[object], float] = {}  # in the order in which they end
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        # Asking for the running loop costs a system call before Python 3.12: so only once.
        loop = self._loop = self._loop or asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a deadline needs a task to interrupt")
        end = self._ends[task] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_at(end, self._tick, loop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task = asyncio.current_task(self._loop)
        if task is None or self._ends.pop(task, None) is not None:
            return
        # The timer took the task out and cancelled it. Where others cancelled it too, theirs wins.
        if task.uncancel() <= 0 and kind is asyncio.CancelledError:
            notes = getattr(error, "__notes__", ())
            raise TimeoutError("; ".join([self.what, *notes[:1]])) from None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        late = []
        for task, end in self._ends.items():
            if end > now:
                self._timer = loop.call_at(max(end, now + self.seconds / 8), self._tick, loop)
                break
            late.append(task)
        for task in late:
            del self._ends[task]
            task.cancel(self.what)
