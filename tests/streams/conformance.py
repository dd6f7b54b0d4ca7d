"""What every stream must keep of `interfaces.Stream`, as tests.

Subclass `StreamConformance` in a test file and say how two connected ends are made. A layer over a
stream runs the same suite over a pair of its own.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any, TypeVar

import pytest

from byway.errors import EngineError
from byway.interfaces import Stream, StreamInfo

LIMIT = 5.0  # seconds for a thing that must happen
MOMENT = 0.05  # seconds to see that a thing does not happen

T = TypeVar("T")


class StreamConformance:
    """The suite. `ends` holds the two connected streams and nobody else does."""

    @pytest.fixture
    async def ends(self) -> AsyncIterator[list[Stream]]:
        """Two connected ends; closed afterwards, whatever the test did with them."""
        made = await self.make()
        yield made
        for stream in made:
            stream.close()

    async def make(self) -> list[Stream]:
        """Two connected ends; each kind of stream says how."""
        raise NotImplementedError

    # Reading.

    async def test_read_gives_what_is_there(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"hello")
        assert await within(two.read()) == b"hello"

    async def test_read_waits_for_the_first_bytes(self, ends: list[Stream]) -> None:
        one, two = ends
        reading = await started(two.read())
        await one.write(b"late")
        assert await within(reading) == b"late"

    async def test_read_gives_no_more_than_its_limit(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"abcdef")
        assert await within(two.read_exactly(1)) == b"a"
        assert await within(two.read(2)) == b"bc"
        assert await within(two.read_exactly(3)) == b"def"

    async def test_read_exactly_spans_writes(self, ends: list[Stream]) -> None:
        one, two = ends
        reading = await started(two.read_exactly(6))
        for piece in (b"ab", b"cd", b"efgh"):
            await one.write(piece)
            await settle()
        assert await within(reading) == b"abcdef"
        assert await within(two.read_exactly(2)) == b"gh"

    async def test_read_exactly_nothing(self, ends: list[Stream]) -> None:
        assert await within(ends[0].read_exactly(0)) == b""

    async def test_read_until_ends_with_its_mark(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"head\r\n\r\nbody")
        assert await within(two.read_until(b"\r\n\r\n", 100)) == b"head\r\n\r\n"
        assert await within(two.read_exactly(4)) == b"body"

    async def test_read_until_finds_a_mark_that_two_writes_split(self, ends: list[Stream]) -> None:
        one, two = ends
        reading = await started(two.read_until(b"\r\n", 100))
        await one.write(b"line\r")
        await settle()
        await one.write(b"\nnext")
        assert await within(reading) == b"line\r\n"
        assert await within(two.read_exactly(4)) == b"next"

    async def test_read_until_counts_the_mark_into_its_limit(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"12345678\r\n")
        assert await within(two.read_until(b"\r\n", 10)) == b"12345678\r\n"

    async def test_read_until_past_its_limit_leaves_the_bytes(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"12345678\r\n")
        with pytest.raises(ValueError):  # noqa: PT011  (each stream words it in its own way)
            await within(two.read_until(b"\r\n", 9))
        assert await within(two.read_exactly(10)) == b"12345678\r\n"

    # The end.

    async def test_the_end_comes_after_the_bytes_and_stays(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"last")
        await one.end()
        assert await within(two.read_exactly(4)) == b"last"
        for _ in range(2):
            with pytest.raises(EOFError):
                await within(two.read())

    async def test_the_end_wakes_a_reader(self, ends: list[Stream]) -> None:
        one, two = ends
        reading = await started(two.read())
        await one.end()
        with pytest.raises(EOFError):
            await within(reading)

    async def test_the_end_too_soon_leaves_what_came(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"abc")
        await one.end()
        with pytest.raises(EOFError):
            await within(two.read_exactly(4))
        with pytest.raises(EOFError):
            await within(two.read_until(b"\n", 100))
        assert await within(two.read_exactly(3)) == b"abc"

    async def test_half_close_leaves_the_other_way_open(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"request")
        await one.end()
        assert await within(read_all(two)) == b"request"
        await two.write(b"response")
        await two.end()
        assert await within(read_all(one)) == b"response"

    async def test_end_twice_is_end_once(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.end()
        await one.end()
        with pytest.raises(EOFError):
            await within(two.read())

    async def test_writing_after_the_end_fails(self, ends: list[Stream]) -> None:
        await ends[0].end()
        with pytest.raises(OSError):  # noqa: PT011  (which one depends on the layer)
            await within(ends[0].write(b"more"))

    # Peek and unread.

    async def test_peek_leaves_the_bytes(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"peeked")
        assert await within(arrival_of(two, 6)) == b"peeked"
        assert await within(two.peek(3, LIMIT)) == b"pee"
        assert await within(two.read_exactly(6)) == b"peeked"

    async def test_peek_in_vain_loses_nothing(self, ends: list[Stream]) -> None:
        one, two = ends
        assert await within(two.peek(10, MOMENT)) == b""
        await one.write(b"after")
        assert await within(two.read_exactly(5)) == b"after"

    async def test_peek_wakes_at_the_first_bytes(self, ends: list[Stream]) -> None:
        one, two = ends
        peeking = await started(two.peek(10, LIMIT))
        await one.write(b"x")
        assert await within(peeking) == b"x"
        assert await within(two.read()) == b"x"

    async def test_peek_at_the_end_is_empty(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.end()
        assert await within(two.peek(10, LIMIT)) == b""
        with pytest.raises(EOFError):
            await within(two.read())

    async def test_a_cancelled_peek_loses_nothing(self, ends: list[Stream]) -> None:
        one, two = ends
        await cancelled(await started(two.peek(10, LIMIT)))
        await one.write(b"kept")
        assert await within(two.read_exactly(4)) == b"kept"

    async def test_unread_goes_in_front_last_one_first(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"three")
        assert await within(two.read_exactly(1)) == b"t"
        two.unread(b"two, t")
        two.unread(b"one, ")
        assert await within(two.read_exactly(15)) == b"one, two, three"

    async def test_unread_is_seen_by_every_read(self, ends: list[Stream]) -> None:
        _, two = ends
        two.unread(b"again")
        assert await within(two.peek(9, LIMIT)) == b"again"
        assert await within(two.read_until(b"g", 9)) == b"ag"
        assert await within(two.read(1)) == b"a"
        assert await within(two.read_exactly(2)) == b"in"

    async def test_unread_after_the_end(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.end()
        with pytest.raises(EOFError):
            await within(two.read())
        two.unread(b"put back")
        assert await within(read_all(two)) == b"put back"

    # Cancelling a read.

    @pytest.mark.parametrize("kind", ["read", "read_exactly", "read_until"])
    async def test_a_cancelled_read_loses_nothing(self, ends: list[Stream], kind: str) -> None:
        one, two = ends
        reads = {
            "read": two.read(),
            "read_exactly": two.read_exactly(8),
            "read_until": two.read_until(b"8", 100),
        }
        chosen = reads.pop(kind)
        for other in reads.values():
            other.close()
        reading = await started(chosen)
        if kind != "read":
            await one.write(b"1234")
            await settle()
        await cancelled(reading)
        await one.write(b"5678" if kind != "read" else b"12345678")
        assert await within(two.read_exactly(8)) == b"12345678"

    async def test_a_read_cancelled_as_its_bytes_come_loses_nothing(
        self, ends: list[Stream]
    ) -> None:
        one, two = ends
        for turn in range(50):
            reading = await started(two.read())
            await one.write(b"%04d" % turn)
            reading.cancel()
            got = (await asyncio.gather(reading, return_exceptions=True))[0]
            text = got if isinstance(got, bytes) else b""
            text += await within(two.read_exactly(4 - len(text)))
            assert text == b"%04d" % turn

    # Writing and holding.

    async def test_writing_nothing_is_nothing(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"")
        await one.write(b"some")
        assert await within(two.read_exactly(4)) == b"some"

    async def test_held_bytes_go_before_the_next_write(self, ends: list[Stream]) -> None:
        one, two = ends
        one.hold(b"header ")
        one.hold(b"and ")
        await one.write(b"payload")
        assert await within(two.read_exactly(18)) == b"header and payload"

    async def test_held_bytes_go_alone_soon(self, ends: list[Stream]) -> None:
        one, two = ends
        one.hold(b"header")
        assert await within(two.read_exactly(6)) == b"header"

    async def test_held_bytes_go_before_the_end(self, ends: list[Stream]) -> None:
        one, two = ends
        one.hold(b"header")
        await one.end()
        assert await within(read_all(two)) == b"header"

    async def test_a_writer_waits_for_its_reader(self, ends: list[Stream]) -> None:
        one, two = ends
        data = content(16 << 20)
        writing = await started(one.write(data))
        done, _ = await asyncio.wait({writing}, timeout=MOMENT)
        assert not done
        assert digest(await within(two.read_exactly(len(data)))) == digest(data)
        await within(writing)

    async def test_a_cancelled_write_sent_a_prefix(self, ends: list[Stream]) -> None:
        one, two = ends
        data = content(16 << 20)
        await cancelled(await started(one.write(data)))
        one.close()
        got = bytearray()
        try:
            while True:
                got += await within(two.read())
        except (EOFError, OSError):
            pass
        assert len(got) < len(data)
        assert got == data[: len(got)]

    async def test_both_ways_at_once(self, ends: list[Stream]) -> None:
        there, back = content(4 << 20, 1), content(4 << 20, 2)

        async def send(stream: Stream, data: bytes) -> None:
            for start in range(0, len(data), 50_000):
                await stream.write(data[start : start + 50_000])
            await stream.end()

        one, two = ends
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(within(send(one, there)))
            tasks.create_task(within(send(two, back)))
            at_two = tasks.create_task(within(read_all(two)))
            at_one = tasks.create_task(within(read_all(one)))
        assert digest(at_two.result()) == digest(there)
        assert digest(at_one.result()) == digest(back)

    # Closing.

    async def test_close_is_seen_as_the_end(self, ends: list[Stream]) -> None:
        one, two = ends
        reading = await started(two.read())
        one.close()
        with pytest.raises(EOFError):
            await within(reading)

    async def test_what_was_written_before_close_arrives(self, ends: list[Stream]) -> None:
        one, two = ends
        await one.write(b"farewell")
        one.close()
        assert await within(read_all(two)) == b"farewell"

    async def test_close_twice_is_close_once(self, ends: list[Stream]) -> None:
        ends[0].close()
        ends[0].close()

    async def test_a_closed_stream_refuses_to_work(self, ends: list[Stream]) -> None:
        one, _ = ends
        one.close()
        for attempt in (
            one.read(),
            one.read_exactly(1),
            one.read_until(b"x", 1),
            one.peek(1, LIMIT),
            one.write(b"x"),
            one.end(),
        ):
            with pytest.raises(EngineError):
                await within(attempt)
        with pytest.raises(EngineError):
            one.unread(b"x")
        with pytest.raises(EngineError):
            one.hold(b"x")

    async def test_close_wakes_its_own_reader(self, ends: list[Stream]) -> None:
        reading = await started(ends[0].read())
        ends[0].close()
        with pytest.raises((EngineError, EOFError)):
            await within(reading)

    async def test_close_wakes_its_own_writer(self, ends: list[Stream]) -> None:
        writing = await started(ends[0].write(content(16 << 20)))
        ends[0].close()
        with pytest.raises((EngineError, OSError)):
            await within(writing)

    async def test_writing_to_who_has_gone_fails_in_the_end(self, ends: list[Stream]) -> None:
        one, two = ends
        two.close()

        async def insist() -> None:
            while True:
                await one.write(bytes(65536))
                await settle()

        with pytest.raises(OSError):  # noqa: PT011  (EPIPE or ECONNRESET)
            await within(insist())

    async def test_a_dropped_handle_closes(self, ends: list[Stream]) -> None:
        two = ends.pop()
        ends.clear()
        gc.collect()
        with pytest.raises(EOFError):
            await within(two.read())
        ends.append(two)

    async def test_info_says_where_it_runs(self, ends: list[Stream]) -> None:
        one, two = ends
        assert isinstance(one.info, StreamInfo)
        assert one.info.local == two.info.remote
        assert one.info.remote == two.info.local


async def within(doing: Awaitable[T]) -> T:
    """The result, or a failure in place of a hang."""
    try:
        async with asyncio.timeout(LIMIT) as limit:
            return await doing
    except TimeoutError:  # which is an OSError, and must not pass for one that a test expects
        if limit.expired():
            pytest.fail(f"nothing happened within {LIMIT:.0f} s")
        raise


async def started(doing: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that has run up to its first wait."""
    task = asyncio.create_task(doing)
    await settle()
    return task


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(3):
        await asyncio.sleep(0)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task that waits, and see that it ends so."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)


async def arrival_of(stream: Stream, size: int) -> bytes:
    """Peek until so many bytes are there."""
    while len(there := await stream.peek(size, LIMIT)) < size:
        await settle()
    return there


async def read_all(stream: Stream) -> bytes:
    """Everything up to the end."""
    data = bytearray()
    try:
        while True:
            data += await stream.read()
    except EOFError:
        return bytes(data)


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that differ everywhere, the same in every run."""
    return random.Random(seed).randbytes(size)


def digest(data: bytes) -> str:
    """What to compare of bytes too many to print."""
    return hashlib.sha256(data).hexdigest()
