"""Sessions: one stream that carries many, each with a window of its own."""

from __future__ import annotations

from typing import Literal

from byway import _engine
from byway.engine.stream import EngineStream

SessionProtocol = Literal["yamux"]
"""What the two ends of a session speak."""


class EngineSession:
    """A session over a stream. Its streams live on the loop of that stream.

    Let go, it takes no more streams, and ends when those that there are have ended.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: _engine.Session) -> None:
        self._raw = raw

    @property
    def is_open(self) -> bool:
        """Whether another stream can be opened now."""
        return self._raw.is_open

    @property
    def streams(self) -> int:
        """How many there are."""
        return self._raw.streams

    @property
    def waiting(self) -> int:
        """Bytes that wait in it, both ways: never more than the windows and its queue allow."""
        return self._raw.waiting

    def open(self) -> EngineStream:
        """Open a stream. Raises EngineError where none can be opened; see `is_open`."""
        return EngineStream(self._raw.open())

    async def accept(self) -> EngineStream:
        """The next stream that the other side opened. Raises EOFError when no more can come."""
        accepted = self._raw.accept()
        if not isinstance(accepted, _engine.Stream):
            accepted = await accepted
        return EngineStream(accepted)

    def leave(self) -> None:
        """Take no more streams; those that there are go on."""
        self._raw.leave()

    def close(self) -> None:
        """End it and all its streams."""
        self._raw.close()
