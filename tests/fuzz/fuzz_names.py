"""Any bytes of a name server, in packets and on streams: only the documented errors come out.

Run: python tests/fuzz/fuzz_names.py -max_total_time=20
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["byway", "dns", "h2", "hpack", "hyperframe"]):
    from byway.dns.message import Failed, Stray, Truncated, answer, question
    from byway.dns.pipe import Pipe
    from byway.dns.web import Http1, Http2, Resource
    from byway.errors import PeerError
    from byway.streams.memory import scripted

ASKED = question("www.example", 4, 7)
# what an answer to it begins with: so that most inputs get past the first look
HEAD = ASKED.wire[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + ASKED.wire[12:29]
BOX = Resource("dns.example", "/dns-query")
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # an empty SETTINGS frame


def one_input(data: bytes) -> None:
    """The first byte picks the reader; the rest is what the server says."""
    if not data:
        return
    kind, said = data[0] % 8, data[1:]
    if kind < 4:
        message(HEAD + said if kind < 3 else said)
    else:
        asyncio.run(connection(kind - 4, said))


def message(wire: bytes) -> None:
    """Read one answer."""
    try:
        found = answer(ASKED, wire)
    except (Stray, Truncated, Failed):
        return
    if not all(len(packed) in (4, 16) for packed in found.addresses):
        raise AssertionError(found)


async def connection(kind: int, said: bytes) -> None:
    """Ask on a connection whose other end has said all it will say."""
    begun = (b"", PAGE, b"", SETTINGS)[kind]
    near, far = scripted(begun + said)
    tasks: list[asyncio.Task[None]] = []

    def start(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        tasks.append(asyncio.ensure_future(work))
        return tasks[-1]

    link: Pipe | Http1 | Http2
    if kind == 0:
        link = Pipe(near, start, padded=False)  # type: ignore[arg-type]
    elif kind == 1:
        link = Http1(near, BOX)
    else:
        link = Http2(near, BOX, start)  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(5):
            await link.ask("www.example", 4)
    except (PeerError, EOFError, BrokenPipeError):
        pass
    link.close()
    far.close()
    for done in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(done, Exception):
            raise done


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
