"""A config in the making: what was understood so far, where it came from, and what was not.

Readers only add to it, in the other program's names and in any order. What hangs together is
settled at the end, by `settled.py`.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from byway.config import Config
from byway.config.model import RESERVED
from byway.errors import ConfigError, Problem
from byway.values.name import like, look

Section = dict[str, object]

VERDICTS = ("reject", "drop")
NEXT = "\0next"
"""The verdict of a way that leaves a flow to the rules after this one."""
MOST_STEPS = 300_000
_MOST_KEPT = 58  # characters of a name, so that a number fits behind it
_MOST_MERGED = 50  # items of one kind that become one rule


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """A thing that was not kept, or was changed: its line (0: none), its name, and why."""

    line: int
    what: str
    why: str

    @property
    def reason(self) -> str:
        """Why, without what is of this one alone: the same for all of a kind."""
        return _QUOTED.sub("...", self.why)


_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|(?<=is without ).*(?= now)")


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """A rule that is left out, or of which a `part` is: its flows go on to later rules."""

    line: int
    what: str
    to: str
    """Where it sent them, in the words of the source."""
    part: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """A config as text, sound; the notes in the order of the file; the rules that are left out."""

    text: str = field(repr=False)
    config: Config
    notes: tuple[Note, ...]
    left_out: tuple[LeftOut, ...] = ()


class Way(str):
    """The name of a way in the other program's words, in a section or rule of ours."""

    __slots__ = ()


LOST = Way("\0lost")
"""A way that leads nowhere, for what stands in place of something that had one."""
OTHERWISE = Way("\0everything else")
"""The way that everything takes which no rule is about."""


@dataclass(slots=True)
class Item:
    """An entry of a section, or a rule, and the line it came from."""

    content: Section = field(repr=False)
    line: int
    what: str
    parts: dict[object, tuple[int, str]] = field(default_factory=dict)
    """Of a rule that others joined: the line and words behind each of its values."""


class Draft:
    """Takes entries as they are understood; `finished` makes the config of them."""

    def __init__(self, file: str, folder: str | None) -> None:
        self.file = file
        self.folder = folder
        self.notes: list[Note] = []
        self.plain: dict[str, Section] = {}  # sections of settings: log, dns, geo
        self.entries: dict[str, dict[str, Item]] = {
            name: {} for name in ("inbounds", "outbounds", "groups", "sets")
        }
        self.rules: list[Item] = []
        self.otherwise: Section = {"otherwise": "direct"}
        self.names: dict[str, str] = {}  # of ways: theirs to ours
        self.gone: dict[str, str] = {LOST: "refused"}  # ways not carried, and why
        self.sets: dict[str, str] = {}  # of sets: theirs to ours
        self.geosite_url = ""  # where the program would fetch its file of lists of names
        self.thin_sets: set[str] = set()  # theirs: sets without a part of their entries
        self.left_out: list[LeftOut] = []
        self.missing: list[str] = []
        """Of the rule that is being read: why parts of it are lost, "" where it is told already."""
        self._taken: set[str] = {"direct", *RESERVED}
        self._numbers: dict[str, int] = {}  # how many of a name there are here
        self._counts: dict[str, int] = {}  # and there
        self._left = MOST_STEPS

    def note(self, line: int, what: str, why: str) -> None:
        """Tell of something that could not be kept. No secret may be in it."""
        self.notes.append(Note(line, what, why))

    def verdict(self, theirs: str, ours: str) -> None:
        """A way of theirs that is `direct` or a verdict here."""
        self.names[theirs] = ours

    def outbound(self, theirs: str, line: int, content: Section) -> None:
        """A way out. One whose name is taken is left out."""
        self._way("outbounds", theirs, line, content)

    def group(self, theirs: str, line: int, content: Section) -> None:
        """A group, with all members that the source gives it, carried or not."""
        self._way("groups", theirs, line, content)

    def lost(self, theirs: str, line: int, why: str) -> None:
        """A way that is not carried."""
        if self.known(theirs):
            why = "duplicate name: the first is kept"
        else:
            self.gone[theirs] = why
        self.note(line, theirs, why)

    def resolve_by(self, theirs: str, line: int, server: str) -> None:
        """Names of what leaves by a way that goes direct are asked of this server."""
        name = self.names.get(theirs, "")
        if name in self.entries["outbounds"]:
            self.entries["outbounds"][name].content["dns"] = server
        elif name == "direct":
            self.direct(line, {"dns": server})

    def direct(self, line: int, content: Section) -> None:
        """How `direct` leaves, where the source says more of it."""
        known = self.entries["outbounds"].get("direct")
        before = {"type": "direct"} if known is None else known.content
        self.entries["outbounds"]["direct"] = Item({**before, **content}, line, "direct")

    def known(self, way: str) -> bool:
        """Whether a name is one of a way, carried or not."""
        return way in self.names or way in self.gone

    def free_name(self, wanted: str) -> str:
        """A name like this one that no way has yet."""
        name, count = wanted, self._counts.get(wanted, 1)
        while self.known(name):
            count += 1
            name = f"{wanted}-{count}"
        self._counts[wanted] = count
        return name

    def everything_by(self, ways: Iterable[str]) -> None:
        """Send everything by these: where there are several, by a group to choose among them."""
        found = [Way(one) for one in ways]
        if len(found) == 1:
            self.otherwise = {"otherwise": found[0]}
        elif found:
            name = self.free_name("proxies")
            self.group(name, 0, {"type": "select", "members": found})
            self.otherwise = {"otherwise": Way(name)}

    def leaving_by(self, how: Section) -> Way:
        """A way that leaves from this host by an interface, from an address or under a mark."""
        way = Way("\0" + " ".join(["by", *map(str, how.values())]))
        if not self.known(way):
            self.outbound(way, 0, {"type": "direct", **how})
        return way

    def hidden(self, way: str) -> bool:
        """Whether what goes by this way of theirs may go by a proxy, carried or not."""
        return self.known(way) and self.names.get(way) != "direct"

    def inbound(self, theirs: str, line: int, content: Section) -> str:
        """A way in; its name here."""
        name = plain_name(theirs, self.entries["inbounds"], "in")
        self.entries["inbounds"][name] = Item(content, line, theirs)
        return name

    def set(self, theirs: str, line: int, content: Section) -> None:
        """A rule set."""
        name = plain_name(theirs, self.entries["sets"], "set")
        self.sets[theirs] = name
        self.entries["sets"][name] = Item(content, line, theirs)

    def rule(self, line: int, conditions: Section, way: str, what: str) -> None:
        """A rule; `way` is theirs. One like the rule before it joins it."""
        keys = list(conditions.keys() - {"resolve"})
        key = keys[0] if len(keys) == 1 and keys[0] in _LISTS else ""
        parts = dict.fromkeys(listed(conditions[key]) if key else (), (line, what))
        last = self.rules[-1] if self.rules else None
        if key and last is not None and last.content.get("to") == way:
            alike = last.content.keys() - {"to"} == conditions.keys()
            if alike and last.content.get("resolve") == conditions.get("resolve"):
                merged = [*listed(last.content[key]), *listed(conditions[key])]
                if len(merged) <= _MOST_MERGED:
                    last.content[key] = list(dict.fromkeys(merged))
                    last.parts = parts | last.parts
                    return
        self.rules.append(Item({**conditions, "to": Way(way)}, line, what, parts))

    def set_asked(self, theirs: str) -> str | None:
        """The set that the rule at hand asks for; None when it is not kept."""
        if theirs in self.thin_sets:
            self.missing.append("")  # told where the set is
        return self.sets.get(theirs)

    def rule_is_read(self, line: int, what: str, to: str) -> None:
        """Tell of the parts that the rule is without, if any, and begin with the next."""
        if self.missing:
            self.left_out.append(LeftOut(line, what, way_name(to), part=True))
        for why in filter(None, self.missing):
            self.note(line, what, why)
        self.missing.clear()

    def lost_rule(self, line: int, what: str, to: str, why: str, *, part: bool = False) -> None:
        """A rule, or a part of it, that has no equivalent; `to` is its way, theirs."""
        self.left_out.append(LeftOut(line, what, way_name(to), part))
        self.note(line, what, why)

    def step(self, count: int = 1) -> None:
        """Count what is made of the source, which may say much in few words. Raises ConfigError."""
        self._left -= count
        if self._left < 0:
            message = f"expands to more than {MOST_STEPS} rules and members of groups"
            raise ConfigError([Problem(self.file, 0, 0, "", message)])

    def _way(self, section: str, theirs: str, line: int, content: Section) -> None:
        if self.known(theirs):
            self.note(line, theirs, "duplicate name: the first is kept")
            return
        name = plain_name(theirs, self._taken, "way", self._numbers)
        self.names[theirs] = name
        self._taken |= {name, look(name)}
        self.entries[section][name] = Item(content, line, theirs)


def way_name(way: object) -> str:
    """A way of theirs as notes name it; those that the import itself makes begin with NUL."""
    return str(way).removeprefix("\0")


def plain_name(
    theirs: str, taken: Container[str], fallback: str, numbers: dict[str, int] | None = None
) -> str:
    """Their name, or one as near to it as our rules and the names that are taken allow.
    `numbers` are those given already, where there may be many of one name."""
    name = like(theirs)[:_MOST_KEPT].strip() or fallback
    free, number = name, (numbers or {}).get(name, 1)
    while free in taken or look(free) in taken or free in RESERVED:
        number += 1
        free = f"{name}-{number}"
    if numbers is not None:
        numbers[name] = number
    return free


def unresolved(conditions: Section) -> Section:
    """The same, but nobody resolves a name for it."""
    return {**conditions, "resolve": False}


def listed(value: object) -> list[object]:
    """A list, or the one thing in its place, as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


_LISTS = {
    "domain",
    "domain_suffix",
    "domain_keyword",
    "domain_wildcard",
    "domain_regex",
    "ip",
    "port",
    "process",
    "process_path",
    "process_path_regex",
    "source",
    "source_set",
    "country",
    "asn",
    "set",
}
