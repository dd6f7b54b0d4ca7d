"""Hearing a client's first words before it is decided where they go."""

from __future__ import annotations

import asyncio

from byway.interfaces import MOST_HEARD, Enough, Stream


async def overhear(stream: Stream, enough: Enough, within: float) -> None:
    """Show the bytes of a stream, until it is `enough`, ends, is too much, or the time is over.

    All of it is still to be read afterwards. Raises OSError.
    """
    came = b""
    try:
        async with asyncio.timeout(within):
            while len(came) < MOST_HEARD:
                came += await stream.read(MOST_HEARD - len(came))
                if enough((came,)):
                    return
    except (TimeoutError, EOFError):
        return
    finally:
        if came:
            stream.unread(came)
