"""Threads for code that may never come back. None of them keeps the program from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from queue import SimpleQueue

MOST_THREADS = 4
MOST_WAITING = 256  # jobs that wait or run, of each kind

Job = Callable[[], None]


class Threads:
    """A few threads for jobs, and one with an event loop for coroutines; begun when first used.

    A job that is stuck takes its thread with it, and when too many are, `run` says no: the bound
    holds whatever a job does. Jobs are called with nothing and must raise nothing.
    """

    def __init__(self, most: int = MOST_THREADS, waiting: int = MOST_WAITING) -> None:
        self._most = most
        self._waiting = waiting
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._pending = 0
        self._coroutines = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, job: Job) -> bool:
        """Have a thread do it; False when too much waits already."""
        with self._lock:
            if self._pending >= self._waiting:
                return False
            self._pending += 1
            if self._pending > len(self._threads) and len(self._threads) < self._most:
                thread = threading.Thread(target=self._work, name="byway-rules", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._jobs.put(job)
        return True

    def begin(self, work: Callable[[], Coroutine[None, None, None]]) -> bool:
        """Run a coroutine in the loop of another thread; False when too many run already."""
        with self._lock:
            if self._coroutines >= self._waiting:
                return False
            self._coroutines += 1
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_loop, args=(self._loop,), name="byway-rules-async", daemon=True
                ).start()
        asyncio.run_coroutine_threadsafe(self._counted(work), self._loop)
        return True

    def close(self) -> None:
        """Have what is not stuck end. Nobody waits for it."""
        for _ in self._threads:
            self._jobs.put(None)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None

    async def _counted(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await work()
        finally:
            with self._lock:
                self._coroutines -= 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            finally:
                with self._lock:
                    self._pending -= 1


def _loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
