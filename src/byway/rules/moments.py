"""The time of day: spans of the week, in minutes of local time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from byway.flow import Flow
from byway.rules.matchers import Answer
from byway.rules.verdicts import Fact, Facts

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_WEEK = 7 * _DAY
_FORM = re.compile(
    r"(?P<days>[a-z,-]+)?\s*(?:(?P<first>\d\d?:\d\d)\s*-\s*(?P<last>\d\d?:\d\d))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes of the week, from Monday 00:00, the last one excluded; `text` as it was written."""

    text: str
    minutes: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read `mon-fri 09:00-17:30`, `sat,sun` or `22:00-06:00`. Raises ValueError with why.

        A span that ends before it begins goes on past midnight, and belongs to the day it began.
        """
        found = _FORM.fullmatch(text.strip().lower())
        if not found or not found[0]:
            raise ValueError("expected days, hours or both")
        days = sorted(set(_days(found["days"]))) if found["days"] else range(7)
        first = _minute(found["first"] or "00:00")
        last = _minute(found["last"] or "24:00")
        if first == last:
            raise ValueError("begins when it ends")
        length = (last - first) % _DAY or _DAY
        return cls(text, tuple((day * _DAY + first, day * _DAY + first + length) for day in days))

    def holds(self, minute: int) -> bool:
        """Whether a minute of the week is in it."""
        return any(
            first <= minute < last or first <= minute + _WEEK < last for first, last in self.minutes
        )


@dataclass(frozen=True, slots=True)
class During:
    """The flow is judged within one of these spans of the week."""

    spans: tuple[Span, ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        moment = facts.moment
        if moment is None:
            return Fact.MOMENT
        minute = moment.weekday() * _DAY + moment.hour * 60 + moment.minute
        return any(span.holds(minute) for span in self.spans)


def _days(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"the days are {', '.join(DAYS)}")
        at, end = DAYS.index(first), DAYS.index(last or first)
        yield at
        while at != end:
            at = (at + 1) % 7
            yield at


def _minute(text: str) -> int:
    hour, minute = map(int, text.split(":"))
    if minute > 59 or hour * 60 + minute > _DAY:
        raise ValueError(f"{text} is not a time of day")
    return hour * 60 + minute
