"""Reading the entries of a rule set: what is common to every form of list.

A bad entry is noted with its line and passed over; nothing else in a list can fail.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from byway.flow import Target, packed_address
from byway.rules import matchers as m
from byway.rules.geo import NOWHERE, World
from byway.rules.names import Keyword, Regex, Wildcard, check_regex
from byway.rules.sets import Condition, Contents, NameTable, Place, PrefixTable, Takes
from byway.values.prefix import Prefix


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that was passed over, and why; `line` counts from 1 (0: it has none)."""

    line: int
    text: str
    why: str


class Bad(ValueError):  # noqa: N818 - says of an entry what it is
    """An entry cannot be read; the text says why."""


@dataclass(slots=True)
class Gathering:
    """The findings in a list so far."""

    names: list[tuple[str, int, int]] = field(default_factory=list)
    spared: list[tuple[str, int, int]] = field(default_factory=list)
    addresses: list[tuple[Prefix, int]] = field(default_factory=list)
    literal: list[tuple[Prefix, int]] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    bad: list[BadEntry] = field(default_factory=list)
    world: World = NOWHERE  # for entries about countries and networks

    def name(self, text: str, takes: int, line: int) -> None:
        """Note a name. Raises Bad."""
        self.names.append((host(text), int(takes), line))

    def prefix(self, text: str, line: int, resolves: bool = True) -> None:
        """Note a prefix, for names too when it `resolves`. Raises Bad."""
        (self.addresses if resolves else self.literal).append((prefix(text), line))

    def condition(self, matcher: m.Matcher, line: int, text: str) -> None:
        """Note an entry of another kind."""
        self.conditions.append(Condition(matcher, Place(line, text)))

    def refuse(self, line: int, text: str, why: object) -> None:
        """Note an entry that cannot be read."""
        self.bad.append(BadEntry(line, text[:200], str(why)))

    def contents(self) -> Contents:
        """The set."""
        return Contents(
            names=NameTable(self.names),
            spared=NameTable(self.spared),
            addresses=PrefixTable(self.addresses),
            literal=PrefixTable(self.literal),
            conditions=tuple(self.conditions),
        )


def host(text: str) -> str:
    """A host name as targets have it. Raises Bad."""
    name = text.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            raise Bad("not a host name") from None
    try:
        target = Target.of(name, 0)
    except ValueError:
        raise Bad("not a host name") from None
    if target.packed is not None or name.rpartition(".")[2].isdigit():
        raise Bad("an address, not a name")
    if any(len(label) > 63 for label in name.split(".")):
        raise Bad("not a host name: a label is longer than 63 characters")
    if not all(c.isalnum() or c in "-_." for c in name):
        raise Bad("not a host name")
    return name


def is_prefix(text: str) -> bool:
    """Whether a text is meant as an address or a prefix."""
    return packed_address(text.partition("/")[0]) is not None


def prefix(text: str) -> Prefix:
    """A prefix; bits beyond its length are cut off, as lists often have them. Raises Bad."""
    address, slash, length = text.partition("/")
    packed = packed_address(address)
    if packed is None or (slash and not (length.isascii() and length.isdigit())):
        raise Bad("not an IP prefix")
    size = len(packed)
    bits = int(length[:9]) if slash else size * 8
    if bits > size * 8:
        raise Bad(f"a prefix of this kind has at most {size * 8} bits")
    number = int.from_bytes(packed) >> (size * 8 - bits)
    if size == 16 and bits >= 96 and number >> (bits - 96) == 0xFFFF:
        return Prefix(4, bits - 96, number & ((1 << (bits - 96)) - 1))
    return Prefix(size, bits, number)


def keyword(text: str) -> Keyword:
    """A part of a name. Raises Bad."""
    if not text or not text.isascii() or any(c <= " " for c in text):
        raise Bad("not a part of a host name")
    return Keyword((text.lower(),))


def wildcard(*patterns: str) -> Wildcard:
    """Patterns with `*` and `?`. Raises Bad."""
    for pattern in patterns:
        if not pattern or not all(c.isalnum() or c in "-_.*?" for c in pattern):
            raise Bad("not a pattern for host names")
    return Wildcard(tuple(pattern.lower() for pattern in patterns))


def regex(text: str) -> Regex:
    """A regex of linear time. Raises Bad."""
    try:
        check_regex(text)
    except ValueError as error:
        raise Bad(f"not a regex: {error}") from None
    return Regex((text,))


def labelled(text: str, into: Gathering, line: int) -> None:
    """A name in the forms that several lists share: `+.a`, `.a`, `*.a`, `a*b`, `a`. Raises Bad.

    `+.a` takes a and all below it, `.a` all below it, `*.a` what is directly below it.
    """
    if text.startswith("+."):
        into.name(text[2:], Takes.SUFFIX, line)
    elif text.startswith("."):
        into.name(text[1:], Takes.BELOW, line)
    elif text.startswith("*.") and "*" not in text[2:] and "?" not in text:
        into.name(text[2:], Takes.CHILD, line)
    elif "*" in text or "?" in text:
        into.condition(wildcard(text), line, text)
    else:
        into.name(text, Takes.ITSELF, line)
