"""A connection that knocks: what the arrivals of all protocols for connections have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from byway.engine import EngineStream
from byway.errors import EngineError, Reason, reason_of
from byway.flow import Dial, Flow
from byway.inbounds.entry import Means
from byway.inbounds.hearing import overhear
from byway.interfaces import Bucket, Enough, Relay, Stream, Way

Grant = Callable[[], Awaitable[None]]
"""Tells the near side yes, in its own protocol."""

Deny = Callable[[Reason], Awaitable[None]]
"""Tells the near side no, in its own protocol."""


class Connection:
    """A connection to one target. `grant` and `deny` are the protocol's; where it has no answers,
    yes is the far side's bytes, and no is a reset: that says more than an end that looks like an
    empty answer. So is a no behind a yes.
    """

    __slots__ = ("_deny", "_grant", "_means", "_stream", "flow")

    def __init__(
        self,
        stream: Stream,
        flow: Flow,
        means: Means,
        grant: Grant | None = None,
        deny: Deny | None = None,
    ) -> None:
        self.flow = flow
        self._stream = stream
        self._means = means
        self._grant = grant
        self._deny = deny

    async def hear(self, enough: Enough, within: float) -> None:
        """Show its first bytes; a near side that waits for its answer is told yes before."""
        if self._grant is not None:
            await self._granted(self._grant)
        await overhear(self._stream, enough, within)

    def dial(self, way: Way) -> Coroutine[None, None, Stream]:
        """A stream to the target."""
        flow = self.flow
        return way.connect(Dial(flow.target, self._stream.home, flow.guarded))

    async def relay(self, far: Stream, buckets: Sequence[Bucket]) -> Relay:
        """Say yes, and join both."""
        means = self._means
        if self._grant is not None:
            await self._granted(self._grant)
        return means.engine.relay(self._stream, far, means.idle, buckets)

    async def refuse(self, why: BaseException | None) -> None:
        """Say no, or nothing, and close."""
        await refuse(self._stream, self._means, self._deny, why)

    async def _granted(self, grant: Grant) -> None:
        """Once, and then there is no other answer."""
        self._grant = self._deny = None
        await grant()


async def refuse(
    stream: Stream, means: Means, deny: Deny | None, why: BaseException | None
) -> None:
    """Say no by `deny` or a reset, or nothing (`why` is None), and close. Never fails."""
    if why is None:
        await means.silence.hold(stream)
    elif deny is not None:
        with contextlib.suppress(OSError, EOFError, EngineError):
            await deny(reason_of(why))
    elif isinstance(stream, EngineStream):
        stream.abort()
    stream.close()
