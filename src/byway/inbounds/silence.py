"""What a prober gets: nothing, for just as long, wherever its bytes went wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable
from typing import TypeVar

from byway.deadline import Deadline
from byway.errors import EngineError, PeerError, Refused
from byway.interfaces import Stream

T = TypeVar("T")


async def greeted(stream: Stream, greeting: Awaitable[T], patience: Deadline) -> T:
    """The outcome of a greeting that must not show how it failed.

    When it fails, what comes is read and thrown away until the client hangs up, or the time for
    greetings is over, which is also when a client is cut that says too little. Only then it raises.
    """
    failure: PeerError | Refused | None = None
    try:
        with patience:
            try:
                return await greeting
            except (PeerError, Refused) as error:
                failure = error
                await _heard_out(stream)
    except TimeoutError:
        if failure is None:
            raise
    assert failure is not None
    raise failure


async def _heard_out(stream: Stream) -> None:
    with contextlib.suppress(OSError, EOFError, EngineError):
        while True:
            await stream.read()
