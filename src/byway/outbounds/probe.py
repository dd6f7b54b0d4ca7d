"""One probe of a way out: a web request through it, timed. On flow time.

What a dial by the way shows is noted by the way itself, where it is watched; what comes after the
dial is the caller's to judge.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from byway.errors import PeerError
from byway.flow import Dial
from byway.interfaces import Dialer, Stream
from byway.protocols import http_client
from byway.protocols.http import RequestHead
from byway.protocols.http_client import Answer
from byway.protocols.web_address import WebAddress

Secure = Callable[[Stream, str], Awaitable[Stream]]
"""Puts TLS on a stream to a server of this name, which its certificate must have."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Asking:
    """A probe's request, and which answers count (none named: 200 to 299). `timeout` in seconds."""

    address: WebAddress
    expect: tuple[int, ...] = ()
    timeout: float = 5.0

    def accepts(self, status: int) -> bool:
        """Whether an answer with this status counts."""
        return status in self.expect if self.expect else 200 <= status <= 299


@dataclass(frozen=True, slots=True)
class Timed:
    """An answer: seconds of the dial, and from there to the answer; and the stream behind it."""

    dial: float
    answer: float
    stream: Stream
    head: Answer


class Mute(PeerError):  # noqa: N818 - says of a way what it is
    """The dial went well, and then came no answer, or a wrong one."""


async def probed(
    way: Dialer, asking: Asking, secure: Secure, clock: Clock = time.monotonic
) -> Timed:
    """Ask by a way; the body waits in the stream, which is the caller's to close.

    Raises what the dial raises, and Mute for what goes wrong after it. A cancel closes all.
    """
    address, began = asking.address, clock()
    stream: Stream | None = None
    try:
        async with asyncio.timeout(asking.timeout):
            stream = await way.connect(Dial(address.target))
            dialled = clock()
            try:
                if address.scheme == "https":
                    stream = await secure(stream, address.host)
                head = await http_client.ask(stream, _request(address))
            except (PeerError, OSError, EOFError) as error:
                raise Mute(_told(address, error)) from error
        if not asking.accepts(head.status):
            raise Mute(f"{address} said {head.status}")
        return Timed(dialled - began, clock() - dialled, stream, head)
    except TimeoutError as error:
        if stream is None:
            raise TimeoutError(f"no connection within {asking.timeout:g} s") from error
        stream.close()
        raise Mute(f"{address} did not answer within {asking.timeout:g} s") from error
    except BaseException:
        if stream is not None:
            stream.close()
        raise


def _request(address: WebAddress) -> RequestHead:
    fields = (
        (b"Host", address.authority.encode()),
        (b"User-Agent", b"Byway"),
        (b"Accept", b"*/*"),
        (b"Connection", b"close"),
    )
    return RequestHead("GET", address.path, fields)


def _told(address: WebAddress, error: Exception) -> str:
    if isinstance(error, EOFError):
        return f"{address.authority} closed the connection"
    return f"{address.authority}: {error or type(error).__name__}"
