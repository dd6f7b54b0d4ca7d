"""Processes in which the functions of rules in Python run, kept warm, and ended when they are late.

A function that holds its interpreter holds that of its process, and no more: Byway asks over a
socket, waits for as long as the function has declared, and then kills the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from byway.errors import in_words

MOST_WORKERS = 4  # for one file; each is asked one question at a time
MOST_WAITING = 256  # questions that wait or are being answered
START = 10.0  # seconds that a file has to be run
HELD = 0.5  # seconds after which coroutines that were not cancelled in time are held up
PAUSE = 1.0  # seconds until a process that did not start is tried again
MOST_LINE = 4 * 1024 * 1024  # bytes of one message

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from byway.facts.worker import main; main(*json.loads(sys.argv[2]))"
)


@dataclass(frozen=True, slots=True)
class Source:
    """A file to run, with the bytes that were looked at."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a question. `text` is the word of "said" (None: no match), else what is wrong,
    and `place` tells one fault from another."""

    kind: Literal["said", "fault", "late"]
    text: str | None
    place: str = ""


LATE = Outcome("late", None)


def begun(source: Source, side_by_side: bool) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A process that runs this file, and our end of its socket. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        with theirs, tempfile.TemporaryFile() as file:
            file.write(source.content)
            file.seek(0)
            words = [source.path, theirs.fileno(), os.getpid(), side_by_side]
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), json.dumps(words)],
                stdin=file,
                pass_fds=[theirs.fileno()],  # and no other descriptor of ours
                start_new_session=True,  # Ctrl-C is ours, and what it starts ends with it
            )
    except BaseException:
        ours.close()
        raise
    return process, ours


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it has started; it is still to be waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


@dataclass(eq=False, slots=True)
class _Question:
    name: str
    seen: list[object]
    timeout: float
    outcome: asyncio.Future[Outcome]
    timer: asyncio.TimerHandle | None = None
    worker: _Worker | None = None
    again: bool = False

    def settle(self, outcome: Outcome) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Pool:
    """The processes of one file. Belongs to one event loop.

    `side_by_side`: one process, whose coroutines wait together; else up to `MOST_WORKERS`, each
    asked one question at a time.
    """

    def __init__(self, source: Source, side_by_side: bool) -> None:
        self._source = source
        self._side_by_side = side_by_side
        self._most, self._room = (1, MOST_WAITING) if side_by_side else (MOST_WORKERS, 1)
        self._workers: list[_Worker] = []
        self._queue: deque[_Question] = deque()
        self._pending = 0
        self._ended: list[subprocess.Popen[bytes]] = []
        self._problem: Outcome | None = None  # why none started, until then
        self._again = 0.0

    def warm(self) -> None:
        """Have a process before the first question."""
        if not self._workers:
            self._start()

    async def ask(self, name: str, seen: list[object], timeout: float) -> Outcome:
        """A function's answer. Raises nothing but CancelledError; then the question goes on, and
        only its answer is dropped."""
        if self._pending >= MOST_WAITING:
            return Outcome("fault", "too many questions wait for an answer", "waiting")
        loop = asyncio.get_running_loop()
        if self._problem is not None and not self._workers and loop.time() < self._again:
            return self._problem
        question = _Question(name, seen, timeout, loop.create_future())
        self._pending += 1
        question.outcome.add_done_callback(self._settled)
        question.timer = loop.call_later(timeout, self._late, question, False)
        self._queue.append(question)
        self._pump()
        return await question.outcome

    def close(self) -> None:
        """End all processes, which takes no longer than the kernel does."""
        for question in self._queue:
            question.settle(Outcome("fault", "Byway ends", "end"))
        self._queue.clear()
        for worker in tuple(self._workers):
            self._drop(worker, Outcome("fault", "Byway ends", "end"))
        for process in self._ended:
            process.wait()
        self._ended.clear()

    def _settled(self, _: asyncio.Future[Outcome]) -> None:
        self._pending -= 1

    def _pump(self) -> None:
        """Hand questions to processes that have room; start one more where all are at work."""
        while self._queue:
            free = (one for one in self._workers if one.is_ready and len(one.asked) < self._room)
            worker = next(free, None)
            if worker is None:
                break
            question = self._queue.popleft()
            if question.outcome.done():
                question.settle(LATE)
                continue
            assert question.timer is not None
            question.timer.cancel()
            late = question.timeout + (HELD if self._side_by_side else 0.0)
            loop = asyncio.get_running_loop()
            question.timer = loop.call_later(late, self._late, question, False)
            worker.put(question)
        if self._queue and not self._is_starting and len(self._workers) < self._most:
            self._start()

    @property
    def _is_starting(self) -> bool:
        return any(not worker.is_ready for worker in self._workers)

    def _start(self) -> None:
        self._ended = [one for one in self._ended if one.poll() is None]
        try:
            self._workers.append(_Worker(*begun(self._source, self._side_by_side), self._heard))
        except OSError as error:
            why = f"its process does not start: {in_words(error)}"
            self._broken(Outcome("fault", why, "start"))

    def _late(self, question: _Question, had_patience: bool) -> None:
        worker = question.worker
        if worker is None and self._is_starting and not had_patience:
            loop = asyncio.get_running_loop()  # no process could take it yet
            question.timer = loop.call_later(START, self._late, question, True)
            return
        question.settle(LATE)
        if worker is None:
            with contextlib.suppress(ValueError):
                self._queue.remove(question)
        else:
            self._drop(worker, Outcome("fault", "its process was ended with another", "end"))
            self._pump()

    def _heard(self, worker: _Worker, message: object) -> None:
        """A message of a process; None: it has ended, or does not start in time."""
        match message:
            case ["ready", dict()]:
                worker.is_ready, self._problem = True, None
            case ["failed", str(why)]:
                self._drop(worker, Outcome("fault", why, "start"))
                self._broken(Outcome("fault", f"its file does not run: {why}", "start"))
            case [int(number), "said", None | str() as word] if number in worker.asked:
                worker.asked.pop(number).settle(Outcome("said", word))
            case [int(number), "fault", str(why), str(place)] if number in worker.asked:
                worker.asked.pop(number).settle(Outcome("fault", why[:400], place[:200]))
            case _:
                was_ready = worker.is_ready
                self._drop(worker, Outcome("fault", "its process has ended", "end"))
                if not was_ready:
                    self._broken(Outcome("fault", "its process does not start", "start"))
        self._pump()

    def _broken(self, problem: Outcome) -> None:
        """No process starts: say so to all that wait for one."""
        self._problem, self._again = problem, asyncio.get_running_loop().time() + PAUSE
        if not self._workers:
            for question in self._queue:
                question.settle(problem)
            self._queue.clear()

    def _drop(self, worker: _Worker, outcome: Outcome) -> None:
        """End a process. Coroutines that waited beside a late one are asked once more."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        worker.end()
        self._ended.append(worker.process)
        for question in worker.asked.values():
            question.worker = None
            if self._side_by_side and not question.again and not question.outcome.done():
                question.again = True
                self._queue.append(question)
            else:
                question.settle(outcome)
        worker.asked.clear()


class _Worker:
    """One process, and what it was asked."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        link: socket.socket,
        heard: Callable[[_Worker, object], None],
    ) -> None:
        self.process = process
        self.is_ready = False
        self.asked: dict[int, _Question] = {}
        self._link = link
        self._heard = heard
        self._read = bytearray()
        self._number = 0
        link.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(link, self._readable)
        self._starting = self._loop.call_later(START, self._slow)

    def put(self, question: _Question) -> None:
        """Ask it."""
        self._number += 1
        self.asked[self._number] = question
        question.worker = self
        line = json.dumps([self._number, question.name, question.seen]).encode() + b"\n"
        try:
            whole = self._link.send(line) == len(line)
        except OSError:
            whole = False
        if not whole:  # it does not read, with no more than MOST_WAITING questions to it
            self._loop.call_soon(self._heard, self, None)

    def end(self) -> None:
        """Kill it."""
        self._starting.cancel()
        self._loop.remove_reader(self._link)
        self._link.close()
        end(self.process)

    def _slow(self) -> None:
        if not self.is_ready:
            self._heard(self, ["failed", f"took longer than {START:g} s"])

    def _readable(self) -> None:
        try:
            data = self._link.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._read += data
        if not data or len(self._read) > MOST_LINE:
            self._heard(self, None)
            return
        *lines, rest = self._read.split(b"\n")
        self._read = bytearray(rest)
        for line in lines:
            self._heard(self, _message(bytes(line)))


def listing(source: Source) -> dict[str, tuple[str, tuple[str, ...], float]]:
    """Run a file in a process of its own, for at most `START` seconds: its names, each with what it
    is, what it needs and its time. Raises OSError or ValueError with the reason."""
    process, link = begun(source, False)
    until = time.monotonic() + START
    read = b""
    try:
        with link:
            while not read.endswith(b"\n") and len(read) <= MOST_LINE:
                link.settimeout(max(until - time.monotonic(), 0.001))
                if not (data := link.recv(65536)):
                    break
                read += data
    except TimeoutError:
        raise ValueError(f"took longer than {START:g} s") from None
    finally:
        end(process)
        process.wait()
    match _message(read):
        case ["ready", dict(names)]:
            return {
                str(name): (kind, tuple(needs), timeout)
                for name, (kind, needs, timeout) in names.items()
            }
        case ["failed", str(why)]:
            raise ValueError(why)
    raise ValueError("its process has ended")


def _message(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
