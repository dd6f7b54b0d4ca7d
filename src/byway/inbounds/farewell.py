"""Closing so that the last words arrive: an answer must not be lost to a reset."""

from __future__ import annotations

import asyncio
import contextlib

from byway.engine import EngineStream
from byway.errors import EngineError

PATIENCE = 1.0  # seconds
MOST_READS = 16


async def farewell(stream: EngineStream) -> None:
    """End our side and hear the other out for a moment, then close (RFC 9112 section 9.6).

    Closing with bytes unread would send a reset, which can overtake an answer. Never fails.
    """
    with contextlib.suppress(OSError, EOFError, EngineError):
        async with asyncio.timeout(PATIENCE):
            await stream.end()
            for _ in range(MOST_READS):
                await stream.read()
    stream.close()
