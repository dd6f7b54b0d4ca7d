"""A running relay, as Python sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from byway import _engine
from byway.interfaces import Bucket


class EngineRelay:
    """Two ends joined in Rust. See `interfaces.Relay` for the contract."""

    __slots__ = ("_raw",)

    def __init__(self, raw: _engine.Relay) -> None:
        self._raw = raw

    @property
    def up(self) -> int:
        """Payload bytes from near to far so far."""
        return self._raw.up

    @property
    def down(self) -> int:
        """Payload bytes from far to near so far."""
        return self._raw.down

    def wait(self) -> Awaitable[str]:
        """Wait for the end, as the only one. A cancel closes both sides. Raises EngineError after
        a panic, or once it was given up.

        What it gives is the engine's own: a coroutine around it would be there for as long as the
        flow.
        """
        reason = self._raw.wait()
        return _told(reason) if isinstance(reason, str) else reason

    def cut(self, reason: str) -> None:
        """End it now; `wait` returns with this reason."""
        self._raw.cut(reason)


async def _told(reason: str) -> str:
    return reason


def raw_buckets(buckets: Sequence[Bucket]) -> Sequence[_engine.Bucket]:
    """The extension's handles. Raises TypeError for buckets that are not the engine's."""
    return [_raw_bucket(bucket) for bucket in buckets] if buckets else ()


def _raw_bucket(bucket: Bucket) -> _engine.Bucket:
    if not isinstance(bucket, _engine.Bucket):
        raise TypeError(f"not a bucket of the engine: {bucket!r}")
    return bucket
