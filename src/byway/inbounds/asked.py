"""The arrival of protocols without answers."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence

from byway.engine import EngineStream
from byway.flow import Flow
from byway.inbounds.entry import Means
from byway.inbounds.hearing import overhear
from byway.interfaces import Bucket, Enough, Outbound, Relay, Stream


class Asked:
    """A flow of a protocol without answers: yes is the far side's bytes, no is a close."""

    __slots__ = ("_means", "_stream", "flow")

    def __init__(self, stream: Stream, flow: Flow, means: Means) -> None:
        self.flow = flow
        self._stream = stream
        self._means = means

    async def hear(self, enough: Enough, within: float) -> None:
        await overhear(self._stream, enough, within)

    def dial(self, outbound: Outbound) -> Coroutine[None, None, Stream]:
        return outbound.connect(self.flow.target)

    async def relay(self, far: Stream, buckets: Sequence[Bucket]) -> Relay:
        return self._means.engine.relay(self._stream, far, self._means.idle, buckets)

    async def refuse(self, why: BaseException | None) -> None:
        if why is None:
            await self._means.silence.hold(self._stream)
        elif isinstance(self._stream, EngineStream):
            self._stream.abort()  # a reset says more than an end that looks like an empty answer
        self._stream.close()
