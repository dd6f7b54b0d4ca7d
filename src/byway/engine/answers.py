"""Answers of name servers that are still good, kept and searched in Rust."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Literal

from byway._engine import Answers, Messages

Families = Literal[4, 6, 46, 64]
"""The families of addresses, in the order wanted: digits."""


class Outcome(IntEnum):
    """How a question ended. With several families the first of these that any of them has, except
    that what is known of the name (UNKNOWN) and a failure count for more than EMPTY."""

    FOUND = 0
    EMPTY = 1
    UNKNOWN = 2
    FAILED = 3


class EngineAnswers:
    """A table of at most `most` answers, each of one realm, family and name.

    A realm is a number for whoever was asked. Times are seconds of the caller's clock, which must
    not run backwards. `find(realm, families, name, now)` gives (outcome, seconds until it is stale,
    seconds until it is gone, addresses) or None, in one call of about a microsecond.
    """

    __slots__ = ("_answers", "find")

    def __init__(self, most: int) -> None:
        self._answers = Answers(most)
        # Taken over as it is, since a method around it would cost as much again.
        self.find = self._answers.find

    def put(
        self,
        realm: int,
        family: Literal[4, 6],
        name: str,
        outcome: Outcome,
        addresses: Sequence[bytes],
        now: float,
        fresh: float,
        stale: float,
    ) -> None:
        """Remember an answer: `fresh` for so many seconds, then stale until `stale` are over."""
        self._answers.put(realm, family, name, outcome, addresses, now, fresh, stale)

    def forget(self, realm: int) -> None:
        """Forget all answers of a realm."""
        self._answers.forget(realm)

    def resize(self, most: int, now: float) -> None:
        """Hold at most so many from now on."""
        self._answers.resize(most, now)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many answers there are, and the bytes that they take."""
        return self._answers.sizes()

    @property
    def counts(self) -> tuple[int, int]:
        """Look-ups that found all they asked for, and those that did not."""
        return self._answers.counts()


class EngineMessages:
    """A table of at most `most` whole answers, found by the query of a client as it came.

    `scope` keeps answers apart that not everybody gets. What is odd about a query is not found.
    """

    __slots__ = ("raw",)

    def __init__(self, most: int) -> None:
        self.raw = Messages(most)

    def answer(self, scope: int, query: bytes, streamed: bool) -> tuple[bytes, bool] | None:
        """The message that answers a query, and whether it is stale; None: it is not known."""
        return self.raw.answer(scope, query, streamed)

    def put(
        self,
        scope: int,
        query: bytes,
        message: bytes,
        fresh: float,
        stale: float,
        aging: bool = True,
    ) -> bool:
        """Keep what answers a query, a message without EDNS: `fresh` for so many seconds, then
        stale until `stale` are over. With `aging` its times to live run down. False for a query
        that could not be found again."""
        return self.raw.put(scope, query, message, fresh, stale, aging)

    def clear(self, most: int) -> None:
        """Forget everything, and hold at most so many from now on."""
        self.raw.clear(most)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many answers there are, and the bytes that they take."""
        return self.raw.sizes()

    @property
    def counts(self) -> tuple[int, int]:
        """Queries that were answered, and those that were not."""
        return self.raw.counts()
