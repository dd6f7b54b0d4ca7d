"""Conditions on the text of a target's name: a part of it, a pattern with wildcards, a regex.

Names are at most 253 characters, and every search here is linear in them, or cut into pieces that
are: no pattern can hold up the road.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast

from byway.flow import Flow
from byway.rules.matchers import Answer
from byway.rules.verdicts import Facts


@dataclass(frozen=True, slots=True)
class Keyword:
    """The target's name has one of these texts in it."""

    words: tuple[str, ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        target = flow.target
        if target.packed is not None:
            return False
        host = target.host
        return any(word in host for word in self.words)


@dataclass(frozen=True, slots=True)
class QueryType:
    """A record of one of these types is asked for (not where a flow is judged)."""

    types: frozenset[int]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        return facts.query in self.types


class Wildcard:
    """The target's name is like one of these patterns: `*` is any text, `?` any one character."""

    __slots__ = ("_like", "patterns")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        self._like = re.compile("|".join(_wildcard(pattern) for pattern in patterns), re.DOTALL)

    def match(self, flow: Flow, facts: Facts) -> Answer:
        """Whether any pattern takes the whole name."""
        target = flow.target
        return target.packed is None and self._like.fullmatch(target.host) is not None

    def found(self, host: str) -> str:
        """The first pattern that takes a name."""
        return next(p for p in self.patterns if re.fullmatch(_wildcard(p), host, re.DOTALL))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wildcard) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"Wildcard({', '.join(self.patterns)})"


@dataclass(frozen=True, slots=True)
class Labels:
    """The target's name is made of these labels, of which `*` is any one; or it is below such a
    name; or both."""

    labels: tuple[str, ...]
    itself: bool
    below: bool

    def match(self, flow: Flow, facts: Facts) -> Answer:
        target = flow.target
        if target.packed is not None:
            return False
        found, count = target.host.split("."), len(self.labels)
        if not (self.itself if len(found) == count else self.below and len(found) > count):
            return False
        return all(
            wanted in ("*", label)
            for wanted, label in zip(self.labels, found[-count:], strict=True)
        )

    def __str__(self) -> str:
        start = "+." if self.itself and self.below else "." if self.below else ""
        return start + ".".join(self.labels)


class Regex:
    """One of these regexes finds something in the target's name, in time linear in the name."""

    __slots__ = ("_set", "patterns")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        self._set = _compiled(patterns)

    def match(self, flow: Flow, facts: Facts) -> Answer:
        """Whether any regex finds something."""
        target = flow.target
        return target.packed is None and bool(self._set.Match(target.host))

    def finds(self, text: str) -> bool:
        """Whether any regex finds something in a text."""
        return bool(self._set.Match(text))

    def found(self, host: str) -> str:
        """The first regex that finds something in a name."""
        return self.patterns[min(self._set.Match(host))]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regex) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"Regex({', '.join(self.patterns)})"


def check_regex(pattern: str) -> None:
    """Raise ValueError with the reason when a text is no regex that runs in linear time."""
    _compiled((pattern,))


def _wildcard(pattern: str) -> str:
    """The pattern for `re`: atomic pieces, so that a piece once found is never sought again.

    The first place where a piece fits is as good as any later one, since `*` takes up the rest.
    """
    first, *pieces = [_literal(piece) for piece in re.split(r"\*+", pattern)]
    if not pieces:
        return first
    *middle, last = pieces
    return first + "".join(f"(?>.*?{piece})" for piece in middle) + f".*{last}"


def _literal(piece: str) -> str:
    return ".".join(map(re.escape, piece.split("?")))


class _Set(Protocol):
    """The part of RE2's set that is used: all patterns in one pass."""

    def Match(self, text: str) -> Sequence[int]: ...  # noqa: N802 - the library's name


@cache
def _compiled(patterns: tuple[str, ...]) -> _Set:
    import re2  # loaded when a rule has a regex, since most configs have none

    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = 8 << 20
    found = re2.Set.SearchSet(options)
    for pattern in patterns:
        try:
            re2.compile(pattern, options)
            found.Add(pattern)
        except re2.error as error:
            why = error.args[0] if error.args else "not a regex"
            raise ValueError(why.decode() if isinstance(why, bytes) else str(why)) from None
    found.Compile()
    return cast(_Set, found)
