"""Lines onto a descriptor that may be slow: a full terminal or pipe must never stall the loop."""

from __future__ import annotations

import os
import threading
import time
from collections import deque

PAUSE = 0.02  # seconds; lines that come within it share one system call


class LineWriter:
    """Takes lines at once and writes them from a thread of its own; what finds no room is counted.

    The number of lost lines is written in their place as soon as there is room again.
    """

    def __init__(self, fd: int, room: int = 8192, owned: bool = False) -> None:
        self.dropped = 0
        self._fd = fd
        self._room = room
        self._owned = owned
        self._waiting: deque[str] = deque()  # its ends are safe between two threads
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="byway-log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line (its newline is added). Never waits."""
        if len(self._waiting) >= self._room:
            self.dropped += 1
            return
        self._waiting.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, within: float = 1.0) -> None:
        """Write what waits, for at most so many seconds; lines after this are lost."""
        self._closing = True
        self._wake.set()
        self._thread.join(within)

    def _run(self) -> None:
        told = 0
        while True:
            self._wake.wait()
            if not self._closing:
                time.sleep(PAUSE)
            self._wake.clear()
            closing = self._closing  # read after the clear, so that a close is never missed
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if (dropped := self.dropped) > told:
                lines.append(f"({dropped - told} log lines were lost: their reader is too slow)")
                told = dropped
            if lines and not self._put("\n".join([*lines, ""]).encode()):
                break
            if closing:
                break
        if self._owned:
            os.close(self._fd)

    def _put(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                time.sleep(PAUSE)  # somebody made the shared terminal non-blocking
            except OSError:
                return False  # nobody reads any more; the flows matter more than their lines
        return True
