"""Streams and listeners as `interfaces.py` has them, over the extension's handles.

A call of the extension gives its value at once where it can, and only else something to await:
most reads of a handshake never see the event loop. A cancelled wait has taken nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from byway import _engine
from byway.engine.options import Refusal
from byway.flow import Target, frozen
from byway.interfaces import StreamInfo


@frozen
class TlsInfo:
    """What a handshake has settled."""

    version: str  # "1.2" or "1.3"
    alpn: str | None
    name: str | None  # that the client asked for
    cipher: str  # the suite's registered name
    resumed: bool


class EngineStream:
    """A stream of the engine (TCP, unix, or a layer). See `interfaces.Stream` for the contract."""

    __slots__ = ("_source", "raw")

    def __init__(self, raw: _engine.Stream) -> None:
        self.raw = raw
        self._source: Target | None = None

    @property
    def home(self) -> int:
        """The loop that it lives on. Raises EngineError as `info` does."""
        return self.raw.home

    @property
    def info(self) -> StreamInfo:
        """Where it runs. Raises EngineError once the stream was closed or handed on."""
        local, remote = self.raw.local, self.raw.remote
        return StreamInfo(
            Target.from_packed(*local) if local else None,
            Target.from_packed(*remote) if remote else None,
        )

    @property
    def source(self) -> Target | None:
        """The other side's address: the remote half of `info`, made once and remembered."""
        if self._source is None and (remote := self.raw.remote):
            self._source = Target.from_packed(*remote)
        return self._source

    @property
    def asked(self) -> Target:
        """Where it was sent to before the kernel's NAT redirected it here: this side's address
        where it did not. Raises OSError where the kernel does not know, EngineError as `info`
        does."""
        return Target.from_packed(*self.raw.asked())

    @property
    def broken(self) -> bool:
        """Whether it is of no use any more: closed, reset, or ended both ways."""
        return self.raw.broken

    @property
    def tls(self) -> TlsInfo | None:
        """What the handshake has settled, where the topmost layer is TLS."""
        facts = self.raw.tls
        return TlsInfo(*facts) if facts else None

    async def read(self, limit: int = 65536) -> bytes:
        """1..limit bytes. Raises EOFError at the end. A cancel loses nothing."""
        got = self.raw.read(limit)
        return got if isinstance(got, bytes) else await got

    async def read_exactly(self, n: int) -> bytes:
        """Just n bytes. Raises EOFError. A cancel loses nothing."""
        got = self.raw.read_exactly(n)
        return got if isinstance(got, bytes) else await got

    async def read_until(self, mark: bytes, limit: int) -> bytes:
        """Up to and including mark. Raises EOFError, or ValueError past limit."""
        got = self.raw.read_until(mark, limit)
        return got if isinstance(got, bytes) else await got

    async def peek(self, limit: int, within: float) -> bytes:
        """The bytes that are there, or the first to come in time; left in place. b"" when none."""
        got = self.raw.peek(limit)
        if isinstance(got, bytes):
            return got
        try:
            async with asyncio.timeout(within):
                return await got
        except TimeoutError:
            return self.raw.buffered()[:limit]

    def unread(self, data: bytes) -> None:
        """Put bytes back in front."""
        self.raw.unread(data)

    async def write(self, data: bytes) -> None:
        """Send all of it, after what was held. A cancel may leave a part unsent."""
        waiting = self.raw.write(data)
        if waiting is not None:
            await waiting

    def hold(self, data: bytes) -> None:
        """Send with the next write or first relayed chunk, or alone after a few milliseconds."""
        self.raw.hold(data)

    async def end(self) -> None:
        """Half-close, once all that was written has gone out."""
        waiting = self.raw.end()
        if waiting is not None:
            await waiting

    def close(self) -> None:
        """Close both ways. Idempotent."""
        self.raw.close()

    def abort(self) -> None:
        """Close so that the other side sees a reset. Idempotent."""
        self.raw.abort()

    def refuse(self, why: Refusal) -> None:
        """Close, and say why there is no connection, where that can be told still: to a program
        behind a TUN that was not answered yet. Any other side sees a reset. Idempotent."""
        self.raw.refuse(why)


class EngineListener:
    """A bound stream listener. Connections come in batches, once they have said something."""

    __slots__ = ("_raw",)

    def __init__(self, raw: _engine.Listener) -> None:
        self._raw = raw

    @property
    def address(self) -> Target | None:
        """Where it listens; None for a unix socket."""
        address = self._raw.address
        return Target.from_packed(*address) if address else None

    async def accept(self) -> Sequence[EngineStream]:
        """What arrived since last asked, at least one. Raises EngineError once it is closed."""
        got = self._raw.accept()
        return [EngineStream(raw) for raw in (got if isinstance(got, list) else await got)]

    @property
    def counts(self) -> tuple[int, int]:
        """Connections open now, and turned away by the limits since the start."""
        return self._raw.counts()

    def close(self) -> None:
        """Stop listening. Idempotent; connections that were handed over live on."""
        self._raw.close()
