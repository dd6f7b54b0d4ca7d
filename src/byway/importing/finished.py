"""A config out of a draft: written, checked, and written again without what the check refuses."""

from __future__ import annotations

import re

from byway.config import load_text
from byway.errors import ConfigError, Problem
from byway.importing import yaml_text
from byway.importing.draft import LOST, Draft, Imported, Item, Section, Way, listed, way_name
from byway.importing.settled import Settled, settle


def finished(draft: Draft) -> Imported:
    """The config; what the check refuses is left out, and way_name with its reason."""
    if not any(draft.entries["inbounds"].values()):
        draft.entries["inbounds"]["mixed"] = Item(
            {"type": "mixed", "listen": "127.0.0.1:1080"}, 0, "mixed"
        )
    most = sum(map(len, draft.entries.values())) + len(draft.rules) + 8
    for _ in range(most):
        made = settle(draft)
        text = _text(draft, made)
        try:
            config = load_text(text, draft.file, draft.folder)
        except ConfigError as error:
            if not _Removing(draft, made).removed(error):
                raise
        else:
            notes = sorted(dict.fromkeys((*draft.notes, *made.notes)))
            left_out = sorted(draft.left_out, key=lambda rule: rule.line)
            return Imported(text, config, tuple(notes), tuple(left_out))
    raise AssertionError("too many rounds")


def _text(draft: Draft, made: Settled) -> str:
    sections: dict[str, object] = {
        name: draft.plain[name] for name in ("log", "names", "geo") if draft.plain.get(name)
    }
    comments: dict[tuple[str, str], str] = {}
    for section, entries in made.sections.items():
        if entries:
            sections[section] = entries
        whats = {name: draft.entries[section][name].what for name in entries}
        comments |= {(section, name): what for name, what in whats.items() if name != what}
    if made.dns:
        sections["dns"] = made.dns
    sections["rules"] = [*(rule for rule, _ in made.rules), made.otherwise]
    file = yaml_text.commented(draft.file)
    return f"# Made by `byway import` of {file}\n" + yaml_text.document(sections, comments)


class _Removing:
    """Leaves out of a draft what the problems of a config made of it are about."""

    def __init__(self, draft: Draft, made: Settled) -> None:
        self._draft = draft
        self._made = made
        self._rules: set[int] = set()  # by identity: those that are left out

    def removed(self, error: ConfigError) -> bool:
        """Leave it out; whether there was anything."""
        draft, rules, found = self._draft, dict[int, list[Problem]](), False
        for problem in reversed(error.problems):  # so that no place moves before its turn
            section, name = self._place(problem.key)
            if section == "rules":
                rules.setdefault(int(name), []).append(problem)
            elif section in draft.entries and name in draft.entries[section]:
                item = draft.entries[section].pop(name)
                found = True
                draft.note(item.line, item.what, problem.message)
            elif section == "dns" and self._from_dns(problem):
                found = True
            elif draft.plain.get(section):
                draft.plain[section] = {}
                found = True
                draft.note(0, section, f"{problem.key}: {problem.message}")
        for at, problems in sorted(rules.items(), reverse=True):
            if at < len(self._made.rules):
                found = True
                item = self._made.rules[at][1]
                if not self._from_rule(item, problems):
                    self._rules.add(id(item))
                    self._lost_rule(item, (item.line, item.what), problems[0])
        draft.rules = [item for item in draft.rules if id(item) not in self._rules]
        return found

    def _lost_rule(self, item: Item, source: tuple[int, str], problem: Problem) -> None:
        others = [place for place in item.parts.values() if place == source]
        way = way_name(item.content["to"])
        self._draft.lost_rule(*source, way, problem.message, part=bool(others))

    def _from_rule(self, item: Item, problems: list[Problem]) -> bool:
        """Leave out the values that the problems are about; whether that was enough."""
        bad: dict[int, Problem] = {}
        key = ""
        for problem in problems:
            place = re.fullmatch(r"rules\[\d+\]\.(\w+)\[(\d+)\]", problem.key)
            if place is None or place[1] not in item.content or key not in ("", place[1]):
                return False
            key = place[1]
            bad.setdefault(int(place[2]), problem)
        values = listed(item.content[key])
        if max(bad) >= len(values):
            return False
        left = [value for at, value in enumerate(values) if at not in bad]
        parts = item.parts
        item.parts = {value: parts[value] for value in left if value in parts}
        item.content[key] = left
        sources = {
            parts.get(values[at], (item.line, item.what)): problem
            for at, problem in sorted(bad.items(), reverse=True)
        }
        for source, problem in sorted(sources.items(), key=lambda one: one[0]):
            self._lost_rule(item, source, problem)
        if not left:
            self._rules.add(id(item))
        return True

    def _from_dns(self, problem: Problem) -> bool:
        """Leave out a server, a host or a rule of names; whether the problem is about one."""
        dns = self._draft.plain.get("dns", {})
        part, _, rest = problem.key.removeprefix("dns.").partition(".")
        entries, rules = dns.get(part), dns.get("rules")
        if at := re.match(r"rules\[(\d+)\]", part):
            if not isinstance(rules, list) or int(at[1]) >= len(rules):
                return False
            rule = rules[int(at[1])]
            value = re.fullmatch(r"rules\[\d+\]\.(\w+)\[(\d+)\]", problem.key.removeprefix("dns."))
            values = rule.get(value[1]) if value else None
            if value and isinstance(values, list) and int(value[2]) < len(values) > 1:
                del values[int(value[2])]
            else:
                del rules[int(at[1])]
            self._draft.note(0, "a rule of dns", problem.message)
            return True
        if not isinstance(entries, dict) or (name := _entry(entries, rest)) == "":
            return False
        self._draft.note(0, f"dns.{part}.{name}", problem.message)
        server = entries.pop(name)
        if part == "servers":
            if isinstance(server, dict) and isinstance(server.get("via"), Way):
                entries[name] = {"via": LOST}  # not asked, and nobody else in its place
                return True
            self._unasked(dns, name)
        return True

    def _unasked(self, dns: Section, server: str) -> None:
        """Ask this server no more."""
        rules, servers = dns.get("rules"), dns.get("servers")
        _without(dns, server)
        if isinstance(rules, list):
            for rule in rules:
                _without(rule, server)
            dns["rules"] = [rule for rule in rules if "use" in rule or "answer" in rule]
        for other in servers.values() if isinstance(servers, dict) else ():
            if isinstance(other, dict) and other.get("bootstrap") == server:
                other["bootstrap"] = "system"

    def _place(self, key: str) -> tuple[str, str]:
        """The section and entry that the key path of a problem leads to."""
        if at := re.match(r"rules\[(\d+)\]", key):
            return "rules", at[1]
        section, _, rest = key.partition(".")
        return section, _entry(self._draft.entries.get(section, {}), rest)


def _entry(entries: dict[str, Item] | dict[str, object], rest: str) -> str:
    """The entry that a path begins with; names may have dots themselves."""
    fits = [name for name in entries if rest == name or rest.startswith((f"{name}.", f"{name}["))]
    return max(fits, key=len, default="")


def _without(section: Section, server: str) -> None:
    left = [one for one in listed(section.get("use", [])) if one != server]
    if left:
        section["use"] = left
    else:
        section.pop("use", None)
