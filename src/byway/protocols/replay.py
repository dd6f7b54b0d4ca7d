"""What was seen before: salts of accepted requests, kept so that a replayed one shows itself."""

from __future__ import annotations

from collections.abc import Callable

KEPT_FOR_GOOD = 1 << 17
"""Salts of one generation where their age does not matter: two of them take 30 MB at the most."""

KEPT_A_WHILE = 1 << 20
"""Salts of one generation where they expire, which is 17,000 new connections a second; then no more
are accepted for the rest of the minute. Two of them take 250 MB, and at 1,000 a second 15 MB."""


class ReplayFilter:
    """An exact set of the last salts, in two generations, bounded.

    Without a `window` a full generation pushes the one before it out, so the last
    `capacity` salts at least are known. With one (seconds), a salt is known for that long at
    least, and a generation that is full before its time takes no more: rather none than a replay.
    """

    __slots__ = ("_before", "_begun", "_capacity", "_current", "_now", "_window")

    def __init__(
        self, now: Callable[[], float], capacity: int = KEPT_FOR_GOOD, window: float | None = None
    ) -> None:
        self._now = now
        self._capacity = capacity
        self._window = window
        self._begun = now()
        self._before: set[bytes] = set()
        self._current: set[bytes] = set()

    def add(self, salt: bytes) -> bool:
        """Note a salt whose request was authentic. False when it is not to be accepted."""
        self._age()
        if salt in self._current or salt in self._before:
            return False
        if len(self._current) >= self._capacity:
            if self._window is not None:
                return False
            self._turn()
        self._current.add(salt)
        return True

    def __len__(self) -> int:
        return len(self._before) + len(self._current)

    def _age(self) -> None:
        if self._window is None:
            return
        age = self._now() - self._begun
        if age >= self._window:
            self._turn()
            if age >= 2 * self._window:
                self._before = set()

    def _turn(self) -> None:
        self._before, self._current = self._current, set()
        self._begun = self._now()
