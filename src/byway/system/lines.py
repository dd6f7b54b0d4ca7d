"""Lines onto a descriptor that may be slow: a full terminal or pipe must never stall the loop."""

from __future__ import annotations

import os
import threading
import time
from collections import deque

PAUSE = 0.02  # seconds; lines that come within it share one system call
SLOW = "their reader is too slow"


class LineWriter:
    """Takes lines at once and writes them from a thread of its own; what cannot be is counted.

    Lines are lost where there is no room for them, and where writing fails (a full disk). Each
    batch is a new try, so it goes on by itself; the number of lost lines is written in their place
    then. `lost` counts them, `why` says for what, `problem` why writing fails just now ("": it does
    not).
    """

    def __init__(self, fd: int, room: int = 8192, owned: bool = False) -> None:
        self.why = ""
        self.problem = ""
        self._dropped = 0  # counted by those who write lines
        self._failed = 0  # counted by the thread
        self._failure = ""  # the last one
        self._fd = fd
        self._room = room
        self._owned = owned
        self._within = False  # a line, of which the beginning alone was written
        self._waiting: deque[str] = deque()  # its ends are safe between two threads
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="byway-log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that nobody will read."""
        return self._dropped + self._failed

    @property
    def loss(self) -> str:
        """What is wrong, in words: lines were lost, or cannot be written now; "": nothing."""
        if not self.lost:
            return ""
        counted = f"{self.lost} lines were lost"
        if self.problem:
            return f"it cannot be written: {self.problem}; {counted}"
        return f"{counted}: {self.why}"

    def write(self, line: str) -> None:
        """Queue a line (its newline is added). Never waits."""
        if len(self._waiting) >= self._room:
            self._dropped += 1
            self.why = SLOW
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
        told_failed = told_dropped = 0
        while True:
            self._wake.wait()
            if not self._closing:
                time.sleep(PAUSE)
            self._wake.clear()
            closing = self._closing  # read after the clear, so that a close is never missed
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            failed, dropped = self._failed, self._dropped
            ahead = _note(failed - told_failed, self._failure)
            behind = _note(dropped - told_dropped, SLOW)
            left = self._put(batch) if (batch := [*ahead, *lines, *behind]) else 0
            if left < len(batch):
                told_failed = failed
            if not left:
                told_dropped = dropped
            self._failed += max(0, min(left - len(behind), len(lines)))
            if closing:
                break
        if self._owned:
            os.close(self._fd)

    def _put(self, lines: list[str]) -> int:
        """Write lines; how many of them, the last ones, could not be."""
        data = "\n".join([*lines, ""]).encode()
        if self._within:
            data = b"\n" + data
        at = 0
        while at < len(data):
            try:
                at += os.write(self._fd, memoryview(data)[at:])
            except BlockingIOError:
                time.sleep(PAUSE)  # somebody made the shared terminal non-blocking
            except OSError as error:
                self.problem = self.why = self._failure = error.strerror or str(error)
                self._within = data[at - 1] != _NEWLINE if at else self._within
                return min(data.count(b"\n", at), len(lines))
        self.problem, self._within = "", False
        return 0


def _note(lost: int, why: str) -> list[str]:
    return [f"({lost} log lines were lost: {why})"] if lost else []


_NEWLINE = 10
