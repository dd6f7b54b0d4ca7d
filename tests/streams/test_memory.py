"""The memory pair: the conformance suite, and playing without an event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from byway.flow import Target
from byway.interfaces import Stream, StreamInfo
from byway.streams.memory import WouldWait, pair, play, scripted
from tests.streams.conformance import StreamConformance


class TestMemory(StreamConformance):
    """The memory pair keeps the contract."""

    async def make(self) -> list[Stream]:
        return list(pair())


class TestPlay:
    """A coroutine whose bytes are there runs to its end by one send."""

    def test_what_is_there_needs_no_loop(self) -> None:
        async def exchange() -> bytes:
            await near.write(b"ping")
            near.unread(await near.read_exactly(2))
            assert await near.peek(1, 1.0) == b"p"
            line = await near.read_until(b"\n", 10)
            near.hold(b"held ")
            await near.end()
            with pytest.raises(EOFError):
                await near.read()
            assert await near.peek(1, 1.0) == b""
            return line

        near, far = scripted(b"po", b"ng\n")
        assert play(exchange()) == b"pong\n"
        assert far.read_nowait() == b"pingheld "

    def test_chunks_keep_their_bounds(self) -> None:
        near, _ = scripted(b"ab", b"cd")
        assert play(near.read()) == b"ab"
        assert play(near.read(1)) == b"c"

    @pytest.mark.parametrize("what", ["read", "read_exactly", "read_until", "write"])
    def test_a_wait_is_told(self, what: str) -> None:
        near, far = pair(capacity=4)
        far.write_nowait(b"ab")
        doing: Coroutine[Any, Any, object]
        if what == "read":
            assert near.read_nowait() == b"ab"
            doing = near.read()
        elif what == "read_exactly":
            doing = near.read_exactly(3)
        elif what == "read_until":
            doing = near.read_until(b"c", 9)
        else:
            doing = near.write(b"12345")
        with pytest.raises(WouldWait):
            play(doing)
        if what == "write":
            assert far.read_nowait() == b"1234"
        elif what != "read":
            far.write_nowait(b"c")
            assert play(near.read_exactly(3)) == b"abc"

    def test_peek_without_a_loop_has_no_time(self) -> None:
        near, _ = pair()
        assert play(near.peek(1, 60.0)) == b""

    def test_info_is_as_told_and_turned_at_the_other_end(self) -> None:
        here, there = Target.of("192.0.2.1", 1), Target.of("192.0.2.2", 2)
        near, far = pair(StreamInfo(here, there))
        assert (near.info, far.info) == (StreamInfo(here, there), StreamInfo(there, here))

    def test_an_error_of_the_script_comes_out(self) -> None:
        near, _ = scripted()
        with pytest.raises(EOFError):
            play(near.read())
