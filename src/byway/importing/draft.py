"""A config in the making: what was understood so far, where it came from, and what was not.

Whatever is left out is told. What pointed to a way that is left out never goes another way instead:
its rules reject.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from byway.config import Config, load_text
from byway.config.model import RESERVED
from byway.errors import ConfigError, Problem
from byway.importing import yaml_text
from byway.values.name import like, look

Section = dict[str, object]

VERDICTS = ("reject", "drop")
NO_NAME: Section = {"domain_wildcard": "*"}
"""What every name answers to, and no address: `not` of it asks nobody to resolve."""
MOST_STEPS = 300_000
_MOST_KEPT = 58  # characters of a name, so that a number fits behind it
_MOST_MERGED = 50  # items of one kind that become one rule


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """What could not be kept, or was changed: its line (0: none), what it is, and why."""

    line: int
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A config as text, sound; the notes in the order of the file; how much was kept."""

    text: str = field(repr=False)
    config: Config
    notes: tuple[Note, ...]


class Way(str):
    """The name of a way in the other program's words, in a section or rule of ours."""

    __slots__ = ()


@dataclass(slots=True)
class Item:
    """An entry of a section, or a rule, and the line it came from."""

    content: Section = field(repr=False)
    line: int
    what: str
    parts: dict[object, tuple[int, str]] = field(default_factory=dict)
    """Of a rule that others joined: the line and words behind each of its values."""


class Draft:
    """Takes entries as they are understood; `finish` makes the config of them."""

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
        self.gone: dict[str, str] = {}  # ways that are not carried, and why
        self.sets: dict[str, str] = {}  # of sets: theirs to ours
        self._taken: set[str] = {"direct", *RESERVED}
        self._numbers: dict[str, int] = {}
        self._left = MOST_STEPS

    def note(self, line: int, what: str, why: str) -> None:
        """Tell of something that could not be kept. No secret may be in it."""
        self.notes.append(Note(line, what, why))

    def verdict(self, theirs: str, ours: str) -> None:
        """A way of theirs that is `direct` or a verdict here."""
        self.names[theirs] = ours

    def outbound(self, theirs: str, line: int, content: Section) -> None:
        """A way out."""
        self.entries["outbounds"][self._named(theirs)] = Item(content, line, theirs)

    def group(self, theirs: str, line: int, content: Section) -> None:
        """A group."""
        self.entries["groups"][self._named(theirs)] = Item(content, line, theirs)

    def lost(self, theirs: str, line: int, why: str) -> None:
        """A way that is not carried."""
        self.gone[theirs] = why
        self.note(line, theirs, why)

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
        parts = {
            value: (line, what)
            for key in (conditions if len(conditions) == 1 else ())
            for value in (_listed(conditions[key]) if key in _LISTS else ())
        }
        last = self.rules[-1] if self.rules else None
        if last is not None and last.content.get("to") == way and len(conditions) == 1:
            (key,) = conditions
            before = last.content.get(key)
            if set(last.content) == {key, "to"} and key in _LISTS:
                merged = [*_listed(before), *_listed(conditions[key])]
                if len(merged) <= _MOST_MERGED:
                    last.content[key] = list(dict.fromkeys(merged))
                    last.parts = parts | last.parts
                    return
        self.rules.append(Item({**conditions, "to": Way(way)}, line, what, parts))

    def finish(self) -> Imported:
        """The config, checked; what the check refuses is left out, and told with its reason."""
        if not any(self.entries["inbounds"].values()):
            self.entries["inbounds"]["mixed"] = Item(
                {"type": "mixed", "listen": "127.0.0.1:1080"}, 0, "mixed"
            )
        most = sum(map(len, self.entries.values())) + len(self.rules) + 8
        for _ in range(most):
            self._prune()
            text = self._text()
            try:
                config = load_text(text, self.file, self.folder)
            except ConfigError as error:
                if not self._removed(error):
                    raise
            else:
                return Imported(text, config, tuple(sorted(dict.fromkeys(self.notes))))
        raise AssertionError("every round leaves something out")

    def step(self, count: int = 1) -> None:
        """Count what is made of the source, which may say much in few words. Raises ConfigError."""
        self._left -= count
        if self._left < 0:
            message = f"stands for more than {MOST_STEPS} rules and members of groups"
            raise ConfigError([Problem(self.file, 0, 0, "", message)])

    def _named(self, theirs: str) -> str:
        if theirs not in self.names:
            self.names[theirs] = plain_name(theirs, self._taken, "way", self._numbers)
            self._taken |= {self.names[theirs], look(self.names[theirs])}
        return self.names[theirs]

    def _prune(self) -> None:
        """Leave out what hangs on ways that are not carried, until nothing does."""
        before = None
        while before != len(self.gone):
            before = len(self.gone)
            for name, item in list(self.entries["outbounds"].items()):
                via = item.content.get("via")
                if isinstance(via, Way) and self._ours(via) in (None, *VERDICTS):
                    why = f"it is reached by way of {str(via)!r}, which is not carried"
                    del self.entries["outbounds"][name]
                    self.lost(item.what, item.line, why)
            for name, item in list(self.entries["groups"].items()):
                self._prune_group(name, item)
        for item in self.entries["sets"].values():
            via = item.content.get("via")
            if isinstance(via, Way) and self._ours(via) in (None, *VERDICTS):
                del item.content["via"]
                self.note(item.line, item.what, f"{str(via)!r} is not carried: fetched directly")
        for item in self.rules:
            self._redirect(item.content, "to", item.line, item.what)
        self._redirect(self.otherwise, "otherwise", 0, "everything else")

    def _redirect(self, rule: Section, key: str, line: int, what: str) -> None:
        way = rule[key]
        if isinstance(way, Way) and self._ours(way) is None:
            rule[key] = "reject"
            self.note(line, what, f"rejects now: {str(way)!r} is not carried")

    def _prune_group(self, name: str, item: Item) -> None:
        members = [way for way in _listed(item.content["members"]) if isinstance(way, Way)]
        kept = [way for way in members if self._ours(way) not in (None, *VERDICTS)]
        missing = [str(way) for way in members if way not in kept]
        if members and self._ours(members[0]) in VERDICTS:
            del self.entries["groups"][name]
            verdict = str(self._ours(members[0]))
            self.names[item.what] = verdict
            self.note(item.line, item.what, f"is {verdict} now: a group cannot choose a verdict")
        elif not kept:
            del self.entries["groups"][name]
            self.lost(item.what, item.line, "no member of it is carried")
        elif missing:
            item.content["members"] = kept
            if item.content.get("default") in missing:
                del item.content["default"]
            self.note(item.line, item.what, f"is without {', '.join(missing)} now")

    def _ours(self, way: str) -> str | None:
        """The name here of a way of theirs; None when it is not carried."""
        name = self.names.get(way)
        if name in ("direct", *VERDICTS):
            return name
        known = name in self.entries["outbounds"] or name in self.entries["groups"]
        return name if known and way not in self.gone else None

    def _text(self) -> str:
        sections: dict[str, object] = {
            name: self.plain[name] for name in ("log", "geo") if self.plain.get(name)
        }
        comments: dict[tuple[str, str], str] = {}
        for section, entries in self.entries.items():
            if entries:
                found = {name: self._translated(item.content) for name, item in entries.items()}
                sections[section] = found
            comments |= {
                (section, name): item.what for name, item in entries.items() if name != item.what
            }
        if self.plain.get("dns"):
            sections["dns"] = self._translated(self.plain["dns"])
        rules = [self._translated(item.content) for item in self.rules]
        sections["rules"] = [*rules, self._translated(self.otherwise)]
        made = yaml_text.commented(self.file)
        return f"# Made by `byway import` of {made}\n" + yaml_text.document(sections, comments)

    def _translated(self, value: object) -> object:
        if isinstance(value, Way):
            return self._ours(value) or str(value)
        if isinstance(value, Mapping):
            return {key: self._translated(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._translated(part) for part in value]
        return value

    def _removed(self, error: ConfigError) -> bool:
        """Leave out whatever a problem is about; whether there was anything."""
        rules: dict[int, list[Problem]] = {}
        found = False
        for problem in error.problems:
            section, name = self._place(problem.key)
            if section == "rules":
                rules.setdefault(int(name), []).append(problem)
            elif section in self.entries and name in self.entries[section]:
                item = self.entries[section].pop(name)
                found = True
                if section in ("outbounds", "groups"):
                    self.lost(item.what, item.line, problem.message)
                else:
                    self.note(item.line, item.what, problem.message)
            elif section == "dns" and self._removed_from_dns(problem):
                found = True
            elif self.plain.get(section):
                self.plain[section] = {}
                found = True
                self.note(0, section, f"{problem.key}: {problem.message}")
        for at, problems in sorted(rules.items(), reverse=True):
            if at < len(self.rules):
                found = True
                if not self._removed_from_rule(self.rules[at], problems):
                    item = self.rules.pop(at)
                    self.note(item.line, item.what, problems[0].message)
        return found

    def _removed_from_rule(self, item: Item, problems: list[Problem]) -> bool:
        """Leave out the values that the problems are about; whether a rule is left."""
        bad: dict[int, Problem] = {}
        key = ""
        for problem in problems:
            place = re.fullmatch(r"rules\[\d+\]\.(\w+)\[(\d+)\]", problem.key)
            if place is None or place[1] not in item.content or key not in ("", place[1]):
                return False
            key = place[1]
            bad.setdefault(int(place[2]), problem)
        values = _listed(item.content[key])
        if max(bad) >= len(values):
            return False
        for at, problem in sorted(bad.items()):
            line, what = item.parts.get(values[at], (item.line, item.what))
            self.note(line, what, problem.message)
        left = [value for at, value in enumerate(values) if at not in bad]
        item.content[key] = left
        if not left:
            self.rules.remove(item)
        return True

    def _removed_from_dns(self, problem: Problem) -> bool:
        """Leave out a server, a host or a rule of names; whether the problem is about one."""
        dns = self.plain.get("dns", {})
        part, _, rest = problem.key.removeprefix("dns.").partition(".")
        entries, rules = dns.get(part), dns.get("rules")
        if at := re.match(r"rules\[(\d+)\]", part):
            if not isinstance(rules, list) or int(at[1]) >= len(rules):
                return False
            del rules[int(at[1])]
            self.note(0, "a rule of dns", problem.message)
            return True
        if not isinstance(entries, dict):
            return False
        fits = [n for n in entries if rest == n or rest.startswith((f"{n}.", f"{n}["))]
        if not fits:
            return False
        name = max(fits, key=len)
        del entries[name]
        self.note(0, f"dns.{part}.{name}", problem.message)
        if part == "servers":
            _unused(dns, name)
            if isinstance(rules, list):
                for rule in rules:
                    _unused(rule, name)
                dns["rules"] = [rule for rule in rules if "use" in rule]
            for server in entries.values():
                if isinstance(server, dict) and server.get("bootstrap") == name:
                    server["bootstrap"] = "system"
        return True

    def _place(self, key: str) -> tuple[str, str]:
        """The section and entry that the key path of a problem leads to."""
        if at := re.match(r"rules\[(\d+)\]", key):
            return "rules", at[1]
        section, _, rest = key.partition(".")
        names = self.entries.get(section, {})
        fits = [n for n in names if rest == n or rest.startswith((f"{n}.", f"{n}["))]
        return section, max(fits, key=len, default="")


def _unused(section: Section, server: str) -> None:
    """Ask this server no more."""
    left = [one for one in _listed(section.get("use", [])) if one != server]
    if left:
        section["use"] = left
    else:
        section.pop("use", None)


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


def literal(conditions: Section) -> Section:
    """The same, for targets that are addresses already: nobody is asked to resolve a name."""
    return {**conditions, "not": dict(NO_NAME)}


def _listed(value: object) -> list[object]:
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
    "source",
    "country",
    "asn",
    "set",
}
