"""Rule sets: long lists of names, prefixes and other entries, asked for by their name.

The lists themselves are looked up by what is handed in here (a table of Python's for a few entries,
the engine's for a million); the matcher says only in which order they are asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Protocol

from byway.flow import Flow
from byway.rules.matchers import Answer, Matcher
from byway.rules.verdicts import Fact, Facts
from byway.values.prefix import Prefix


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands in its set: its line (0: it has none) and its text."""

    line: int
    text: str


class Names(Protocol):
    """Names, each exact or with all below it."""

    def __len__(self) -> int: ...
    def holds(self, name: str) -> bool:
        """Whether a name (lower case, no trailing dot) is in it, or below one that is."""

    def place(self, name: str) -> Place | None:
        """The entry by which it is."""


class Addresses(Protocol):
    """Prefixes."""

    def __len__(self) -> int: ...
    def holds(self, packed: bytes) -> bool:
        """Whether a packed address is in any of the prefixes."""

    def place(self, packed: bytes) -> Place | None:
        """The entry by which it is."""


@dataclass(frozen=True, slots=True)
class Condition:
    """An entry that is neither a name nor a prefix."""

    matcher: Matcher
    place: Place


class Takes(IntFlag):
    """The meaning of a name in a set."""

    ITSELF = 1
    BELOW = 2  # every name below it
    CHILD = 4  # every name directly below it
    SUFFIX = ITSELF | BELOW


class NameTable:
    """A few names in a dict."""

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[tuple[str, int, int]] = ()) -> None:
        """Takes names, what they stand for, and their lines; of the same name the first counts."""
        self._names: dict[str, tuple[int, int]] = {}
        for name, takes, line in names:
            had, first = self._names.get(name, (0, line))
            self._names[name] = (had | takes, first)

    def __len__(self) -> int:
        return len(self._names)

    def holds(self, name: str) -> bool:
        """Whether a name is in it, or below one that is."""
        return self._find(name) is not None

    def place(self, name: str) -> Place | None:
        """The entry by which it is: its own, or the nearest above."""
        found = self._find(name)
        return None if found is None else Place(self._names[found][1], found)

    def _find(self, name: str) -> str | None:
        names, takes = self._names, 1  # Takes.ITSELF; then CHILD and BELOW; then BELOW
        while name:
            if name in names and names[name][0] & takes:
                return name
            takes = 6 if takes == 1 else 2
            name = name.partition(".")[2]
        return None


class PrefixTable:
    """A few prefixes in dicts by their length."""

    __slots__ = ("_heads", "_lengths")

    def __init__(self, prefixes: Iterable[tuple[Prefix, int]] = ()) -> None:
        """Takes prefixes with their lines; of the same prefix the first counts."""
        self._heads: dict[tuple[int, int, int], int] = {}
        for prefix, line in prefixes:
            self._heads.setdefault((prefix.size, prefix.bits, prefix.head), line)
        self._lengths = {
            size: sorted({bits for of, bits, _ in self._heads if of == size}) for size in (4, 16)
        }

    def __len__(self) -> int:
        return len(self._heads)

    @property
    def prefixes(self) -> Iterable[Prefix]:
        """All of them."""
        return (Prefix(*found) for found in self._heads)

    def holds(self, packed: bytes) -> bool:
        """Whether a packed address is in any of the prefixes."""
        return self._find(packed) is not None

    def place(self, packed: bytes) -> Place | None:
        """The widest prefix that it is in."""
        found = self._find(packed)
        return None if found is None else Place(self._heads[found], str(Prefix(*found)))

    def _find(self, packed: bytes) -> tuple[int, int, int] | None:
        size, number = len(packed), int.from_bytes(packed)
        for bits in self._lengths[size]:
            key = (size, bits, number >> (size * 8 - bits))
            if key in self._heads:
                return key
        return None


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a set: a flow is in it when any entry takes it, and its name is not `spared`.

    For `literal` prefixes no name is resolved; one that an earlier rule has resolved may be in
    them. `complete` is false while the set could not be read, or not all of it.
    """

    names: Names = field(default_factory=NameTable)
    spared: Names = field(default_factory=NameTable)
    addresses: Addresses = field(default_factory=PrefixTable)
    literal: Addresses = field(default_factory=PrefixTable)
    conditions: tuple[Condition, ...] = ()
    complete: bool = True

    def __len__(self) -> int:
        lists = (self.names, self.addresses, self.literal, self.conditions)
        return sum(len(entries) for entries in lists)

    def match(self, flow: Flow, facts: Facts) -> Answer:
        """Whether any entry takes a flow: names first, and what needs an address last."""
        target = flow.target
        packed = target.packed
        if packed is None:
            if len(self.spared) and self.spared.holds(target.host):
                return False
            if self.names.holds(target.host):
                return True
            if facts.open and any(map(self.literal.holds, facts.addresses or ())):
                return True
        elif self.addresses.holds(packed) or self.literal.holds(packed):
            return True
        lacking: Answer = False
        for condition in self.conditions:
            answer = condition.matcher.match(flow, facts)
            if answer is True:
                return True
            if answer is not False and lacking is False:
                lacking = answer
        if packed is None and len(self.addresses):
            if facts.addresses is None:
                return Fact.ADDRESS if lacking is False else lacking
            if any(map(self.addresses.holds, facts.addresses)):
                return True
        return lacking

    def place(self, flow: Flow, facts: Facts) -> Place | None:
        """The entry that takes a flow."""
        target = flow.target
        if target.packed is None:
            found = self.names.place(target.host)
        else:
            found = self.addresses.place(target.packed) or self.literal.place(target.packed)
        if found is not None:
            return found
        for condition in self.conditions:
            if condition.matcher.match(flow, facts) is True:
                return condition.place
        for packed in facts.addresses or () if target.packed is None else ():
            found = self.literal.place(packed) if facts.open else None
            if (found := found or self.addresses.place(packed)) is not None:
                return found
        return None


class RuleSet:
    """A set by its name. Its contents are replaced whole, when a newer list has come."""

    __slots__ = ("contents", "name", "source")

    def __init__(self, name: str, source: str, contents: Contents) -> None:
        self.name = name
        self.source = source
        self.contents = contents

    def __repr__(self) -> str:
        return f"RuleSet({self.name!r}, {self.source!r}, {len(self.contents)} entries)"


@dataclass(frozen=True, slots=True)
class InSet:
    """The flow is in one of these sets."""

    sets: tuple[RuleSet, ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        lacking: Answer = False
        for one in self.sets:
            answer = one.contents.match(flow, facts)
            if answer is True:
                return True
            if answer is not False and lacking is False:
                lacking = answer
        return lacking


@dataclass(frozen=True, slots=True)
class FromSet:
    """The address that the flow came from is in one of these sets, as a target would be; a flow
    from a unix socket came from none."""

    of: InSet

    def match(self, flow: Flow, facts: Facts) -> Answer:
        if flow.source is None or flow.source.packed is None:
            return False
        return self.of.match(flow.toward(flow.source), facts)
