"""A stream of nothing but memory: the double that plays in a socket's place in tests.

`pair` gives two connected ends that keep the whole contract of `interfaces.Stream`. What one end
writes in one piece the other reads in one piece at most, so a test decides where reads fall.
No event loop is needed as long as the bytes are there: `play` runs such a coroutine to its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from byway.errors import EngineError
from byway.interfaces import StreamInfo

CAPACITY = 65536
"""Bytes that may wait in one direction before a writer waits too, as behind a socket."""

HOLD = 0.005  # seconds that held bytes wait for company

_T = TypeVar("_T")


class WouldWait(Exception):  # noqa: N818  (an outcome of `play`, rather than a fault)
    """The played coroutine waits for bytes, or for room, that nobody will give."""


def pair(
    info: StreamInfo | None = None, capacity: int = CAPACITY
) -> tuple[MemoryStream, MemoryStream]:
    """Two connected streams. `info` is what the first of them says of itself."""
    there, back = _Pipe(capacity), _Pipe(capacity)
    info = info or StreamInfo()
    turned = StreamInfo(info.remote, info.local)
    return MemoryStream(back, there, info), MemoryStream(there, back, turned)


def scripted(*chunks: bytes, end: bool = True) -> tuple[MemoryStream, MemoryStream]:
    """A stream on which these chunks came already (and then the end), and its other end."""
    near, far = pair(capacity=1 << 30)
    for chunk in chunks:
        far.write_nowait(chunk)
    if end:
        far.end_nowait()
    return near, far


def play(script: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that has no need to wait, without an event loop: its result.

    Raises WouldWait where it has to wait after all, and whatever the coroutine raises.
    """
    try:
        script.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    script.close()
    raise WouldWait("the coroutine waits for bytes, or for room, that never come")


class MemoryStream:
    """One end of a pair. See `interfaces.Stream` for the contract."""

    def __init__(self, inbox: _Pipe, outbox: _Pipe, info: StreamInfo) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._info = info
        self._held = b""
        self._flush: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def home(self) -> None:
        """It is not the engine's."""
        return None

    @property
    def info(self) -> StreamInfo:
        """Where it runs, as `pair` was told."""
        self._check_open()
        return self._info

    async def read(self, limit: int = 65536) -> bytes:
        """1..limit bytes of one chunk. Raises EOFError at the end. A cancel loses nothing."""
        self._check_open()
        if not self._inbox.chunks:
            await self._more()
        return self._inbox.take(limit)

    async def read_exactly(self, n: int) -> bytes:
        """Just n bytes. Raises EOFError, and what came stays. A cancel loses nothing."""
        self._check_open()
        while self._inbox.size < n:
            await self._more(n)
        return self._inbox.take_across(n)

    async def read_until(self, mark: bytes, limit: int) -> bytes:
        """Up to and including mark. Raises EOFError, or ValueError past limit; the bytes stay."""
        self._check_open()
        while True:
            there = b"".join(self._inbox.chunks)
            at = there.find(mark, 0, limit)
            if at >= 0:
                return self._inbox.take_across(at + len(mark))
            if len(there) >= limit:
                raise ValueError(f"no {mark!r} within {limit} bytes")
            await self._more(limit)

    async def peek(self, limit: int, within: float) -> bytes:
        """The bytes that are there, or the first to come in time; left in place.

        b"" when time, or the stream, runs out first; without an event loop time runs out at once.
        """
        self._check_open()
        if not self._inbox.chunks and not self._inbox.ended and _loop() is not None:
            try:
                async with asyncio.timeout(within):
                    await self._more()
            except (TimeoutError, EOFError):
                return b""
        return b"".join(self._inbox.chunks)[:limit]

    def unread(self, data: bytes) -> None:
        """Put bytes back in front."""
        self._check_open()
        if data:
            self._inbox.chunks.appendleft(bytes(data))
            self._inbox.size += len(data)

    async def write(self, data: bytes) -> None:
        """Send all of it, after what was held. A cancel may leave a part unsent."""
        self._check_writable()
        data = self._take_held() + data
        outbox = self._outbox
        while data:
            room = outbox.room
            if room > 0:
                outbox.put(data[:room])
                data = data[room:]
            else:
                await outbox.wait()
                self._check_writable()

    def hold(self, data: bytes) -> None:
        """Send with the next write, or alone after a few milliseconds (where a loop runs)."""
        self._check_writable()
        self._held += data
        if self._flush is None:
            loop = _loop()
            if loop is not None:
                self._flush = loop.call_later(HOLD, self._flush_alone)

    async def end(self) -> None:
        """Half-close: the other side reads what was written, then the end."""
        self.end_nowait()

    def close(self) -> None:
        """Close both ways; what was written can still be read at the other end. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._take_held()
        self._outbox.end()
        self._inbox.shut()

    def __del__(self) -> None:
        self.close()

    # For whoever scripts the other end: the same, without a wait.

    def write_nowait(self, data: bytes) -> None:
        """Write as one chunk, whatever the capacity."""
        self._check_writable()
        data = self._take_held() + data
        if data:
            self._outbox.put(data)

    def end_nowait(self) -> None:
        """Half-close."""
        self._check_open()
        held = self._take_held()
        if held and not self._outbox.shut_down:
            self._outbox.put(held)
        self._outbox.end()

    def read_nowait(self) -> bytes:
        """All that is there, maybe nothing. Raises EOFError at the end."""
        self._check_open()
        if not self._inbox.chunks and self._inbox.ended:
            raise EOFError("the stream ended")
        return self._inbox.take_across(self._inbox.size)

    async def _more(self, wanted: int = 1) -> None:
        """Wait until more has come in, where `wanted` bytes must find room."""
        inbox = self._inbox
        before = inbox.size
        inbox.want(wanted)
        try:
            while inbox.size <= before:
                if inbox.ended:
                    raise EOFError("the stream ended")
                await inbox.wait()
                self._check_open()
        finally:
            inbox.want(0)

    def _take_held(self) -> bytes:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        held, self._held = self._held, b""
        return held

    def _flush_alone(self) -> None:
        held = self._take_held()
        if held and not self._outbox.ended and not self._outbox.shut_down:
            self._outbox.put(held)

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("the stream was closed")

    def _check_writable(self) -> None:
        self._check_open()
        if self._outbox.shut_down or self._outbox.ended:
            raise BrokenPipeError("the stream takes no more bytes")


class _Pipe:
    """One direction: chunks on their way, and who waits for a change."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._wanted = 0
        self.chunks: deque[bytes] = deque()
        self.size = 0
        self.ended = False  # by the writer
        self.shut_down = False  # by the reader, who is gone
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def room(self) -> int:
        """Bytes that a writer may put now; may be negative."""
        return max(self._capacity, self._wanted) - self.size

    def want(self, size: int) -> None:
        """Make room for a reader that waits for so many bytes at once."""
        grown = size > max(self._capacity, self._wanted)
        self._wanted = size
        if grown:
            self._wake()

    def put(self, data: bytes) -> None:
        self.chunks.append(bytes(data))
        self.size += len(data)
        self._wake()

    def take(self, limit: int) -> bytes:
        """At most the first chunk."""
        data = self.chunks.popleft()
        if len(data) > limit:
            self.chunks.appendleft(data[limit:])
            data = data[:limit]
        self.size -= len(data)
        self._wake()
        return data

    def take_across(self, n: int) -> bytes:
        """Just n bytes, which are there, over the bounds of chunks."""
        parts = []
        while n > 0:
            part = self.take(n)
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    def end(self) -> None:
        self.ended = True
        self._wake()

    def shut(self) -> None:
        self.shut_down = True
        self.chunks.clear()
        self.size = 0
        self._wake()

    async def wait(self) -> None:
        """Until anything changes. Without an event loop: hand the wait to who plays us."""
        loop = _loop()
        if loop is None:
            await _pause()
            return
        change = loop.create_future()
        self._waiting.append(change)
        try:
            await change
        finally:
            if change in self._waiting:
                self._waiting.remove(change)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@coroutine
def _pause() -> Generator[None, None, None]:
    yield
