"""Settles the references of a draft: groups and chains without the ways that are lost.

Nothing goes direct that was to go by a proxy. A rule, chain or group whose way is lost rejects. A
group that goes on without a member that is lost takes `direct` only where the source took it
first: an automatic group leaves out what stands behind the lost member, a group for a person to
choose takes another proxy until somebody does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from byway.importing.draft import (
    LOST,
    NEXT,
    OTHERWISE,
    VERDICTS,
    Draft,
    Item,
    Note,
    Section,
    Way,
    listed,
    way_name,
)

_MOST_NAMED = 5  # members in a note
_NOWHERES = [f"nowhere{end}" for end in ("", *range(2, 100))]
_NOWHERE = "tcp://127.0.0.1:9"
"""A name server that never answers: the port of the discard service, where none listens."""


@dataclass(slots=True)
class Settled:
    """The sections of a config in our names, and what was to be way_name while they were made."""

    sections: dict[str, dict[str, Section]] = field(default_factory=dict)
    dns: Section = field(default_factory=dict)
    rules: list[tuple[Section, Item]] = field(default_factory=list)
    otherwise: Section = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


def settle(draft: Draft) -> Settled:
    """Settle what a draft holds now. The draft stays as it is."""
    return _Settling(draft).settled()


class _Settling:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._made = Settled()
        self._ours: dict[str, str | None] = {}  # of entries that are done: what they are here
        self._first: dict[str, str] = {}  # what the source takes first: proxy, direct, a verdict
        self._direct: dict[str, bool] = {}  # whether it may go direct with nobody's choice
        self._weak: set[str] = set()  # what may fail where the source had a proxy that is lost

    def settled(self) -> Settled:
        made, draft = self._made, self._draft
        made.sections = {name: {} for name in draft.entries}
        for section, name in self._order():
            item = draft.entries[section][name]
            settle = self._outbound if section == "outbounds" else self._group
            self._ours[name] = settle(name, item)
        for section in ("outbounds", "groups"):  # in the order of the source
            done = made.sections[section]
            made.sections[section] = {
                name: self._plain(done[name]) for name in draft.entries[section] if name in done
            }
        made.sections["inbounds"] = {
            name: self._plain(item.content) for name, item in draft.entries["inbounds"].items()
        }
        for name, item in draft.entries["sets"].items():
            self._set(name, item)
        for item in draft.rules:
            if (rule := self._rule(item.content, "to", item.line, item.what)) is not None:
                made.rules.append((rule, item))
        otherwise = self._rule(draft.otherwise, "otherwise", 0, "everything else")
        made.otherwise = otherwise or {"otherwise": "direct"}  # as there: what no rule takes
        made.dns = self._dns(draft.plain.get("dns", {}))
        return made

    def _order(self) -> Iterator[tuple[str, str]]:
        """The entries, each after those that it leads to; a circle is for the check to refuse."""
        found = {
            name: (section, item)
            for section in ("outbounds", "groups")
            for name, item in self._draft.entries[section].items()
        }
        seen: set[str] = set()
        for start in found:
            stack = [(start, iter([start]))]
            while stack:
                at, ahead = stack[-1]
                name = next((one for one in ahead if one in found and one not in seen), None)
                if name is not None:
                    seen.add(name)
                    stack.append((name, iter(self._leads(found[name][1].content))))
                    continue
                stack.pop()
                if stack:
                    yield found[at][0], at

    def _leads(self, content: Section) -> list[str]:
        ways = [*listed(content.get("members", [])), content.get("via")]
        return [self._draft.names.get(way, "") for way in ways if isinstance(way, Way)]

    # What a way is.

    def _here(self, way: object) -> str | None:
        """Our word for a way of theirs: a name, `direct` or a verdict; None when it is lost."""
        if way == OTHERWISE:
            otherwise = self._draft.otherwise["otherwise"]
            return self._here(otherwise) if isinstance(otherwise, Way) else str(otherwise)
        name = self._draft.names.get(str(way))
        if name is None or way in self._draft.gone:
            return None
        if name in ("direct", NEXT, *VERDICTS):
            return name
        return self._ours.get(name, name if self._is_entry(name) else None)

    def _is_entry(self, name: str) -> bool:
        return any(name in self._draft.entries[section] for section in ("outbounds", "groups"))

    def _took(self, way: object) -> str:
        """The first choice of the source for a way: a proxy, direct, or a verdict."""
        name = self._draft.names.get(str(way), "")
        if name in ("direct", NEXT, *VERDICTS) and way not in self._draft.gone:
            return name
        return self._first.get(name, "proxy")

    def _may_go_direct(self, way: object) -> bool:
        here = self._here(way)
        return here == "direct" or self._direct.get(here or "", False)

    def _is_weaker(self, way: object) -> bool:
        """Whether a way is lost, or leads to one that is, so that it may fail more than there."""
        here = self._here(way)
        return here is None or here in self._weak

    def _note(self, line: int, what: str, why: str) -> None:
        self._made.notes.append(Note(line, what, why))

    # Ways out.

    def _outbound(self, name: str, item: Item) -> str | None:
        content, via = item.content, item.content.get("via")
        self._first[name] = "direct" if content["type"] == "direct" and not via else "proxy"
        self._direct[name] = self._first[name] == "direct"
        if isinstance(via, Way) and self._here(via) in (None, NEXT, *VERDICTS):
            why = f"it is reached through {way_name(via)!r}, which is not supported"
            self._note(item.line, item.what, why)
            return None
        if isinstance(via, Way) and self._is_weaker(via):
            self._weak.add(name)
        self._made.sections["outbounds"][name] = content
        return name

    def _group(self, name: str, item: Item) -> str | None:
        members = list(dict.fromkeys(listed(item.content["members"])))
        by_hand = item.content["type"] == "select"
        start = item.content.get("default", members[0] if members else "")
        self._first[name] = self._wanted(members, start if by_hand else None)
        if self._first[name] in (NEXT, *VERDICTS):
            verdict = self._first[name]
            word = "left to the next rules" if verdict == NEXT else verdict
            self._note(item.line, item.what, f"is {word} now: a group cannot choose a verdict")
            return verdict
        content = self._by_hand(item, members, start) if by_hand else self._alone(item, members)
        if content is None:
            return None
        kept = listed(content["members"])
        missing = [way_name(way) for way in members if way not in kept]
        if missing and item.line:  # a group that the import itself made says nothing new
            more = len(missing) - _MOST_NAMED
            named = ", ".join(missing[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
            self._note(item.line, item.what, f"is without {named} now")
        self._direct[name] = any(
            map(self._may_go_direct, [content.get("default", kept[0])] if by_hand else kept)
        )
        if any(map(self._is_weaker, [start] if by_hand else members)):
            self._weak.add(name)
        self._made.sections["groups"][name] = content
        return name

    def _wanted(self, members: list[object], start: object) -> str:
        """The first choice of the source in a group; `start` is where a person has not chosen."""
        if not members:
            return "proxy"
        if start is not None:
            return self._took(start)
        took = [self._took(way) for way in members]
        return next((kind for kind in ("proxy", "direct") if kind in took), took[0])

    def _kept(self, members: Iterable[object]) -> list[object]:
        return [way for way in members if self._here(way) not in (None, NEXT, *VERDICTS)]

    def _by_hand(self, item: Item, members: list[object], start: object) -> Section | None:
        kept = self._kept(members)
        content = {**item.content, "members": kept}
        content.pop("default", None)
        if start in kept:
            return content if start == kept[0] else {**content, "default": start}
        safe = [way for way in kept if not self._may_go_direct(way)]
        if not safe:
            self._note_lost(item, kept)
            return None
        if self._may_go_direct(kept[0]):
            content["default"] = safe[0]
        return content

    def _alone(self, item: Item, members: list[object]) -> Section | None:
        """A group that chooses by itself."""
        kept = self._kept(members)
        lost = next((at for at, way in enumerate(members) if self._is_weaker(way)), None)
        if lost is not None:
            behind = members[lost:] if item.content["type"] == "fallback" else members
            kept = [way for way in kept if way not in behind or not self._may_go_direct(way)]
        if not kept:
            self._note_lost(item, self._kept(members))
            return None
        return {**item.content, "members": kept}

    def _note_lost(self, item: Item, left: list[object]) -> None:
        if left:
            others = ", ".join(map(way_name, left))
            why = f"rejects now: its proxies are not carried, and {others!r} would go direct"
        else:
            why = "none of its members is supported"
        self._note(item.line, item.what, why)

    # What leads to ways.

    def _set(self, name: str, item: Item) -> None:
        content, via = dict(item.content), item.content.get("via")
        if isinstance(via, Way):
            here = self._here(via)
            if here in (None, NEXT, *VERDICTS):
                why = f"is not kept: {way_name(via)!r}, by which it is fetched, is not carried"
                self._note(item.line, item.what, why)
                return
            if here == "direct":
                del content["via"]
        self._made.sections["sets"][name] = self._plain(content)

    def _rule(self, rule: Section, key: str, line: int, what: str) -> Section | None:
        """The rule in our words; None for one that leaves all to the next."""
        way = rule[key]
        here = self._here(way) if isinstance(way, Way) else str(way)
        if here is None:
            self._note(line, what, f"rejects now: {way_name(way)!r} is not carried")
        return None if here == NEXT else {**self._plain(rule), key: here or "reject"}

    def _dns(self, dns: Section) -> Section:
        """Name servers that were to be asked by a way that is lost are not asked at all."""
        made = self._plain(dns)
        servers = dns.get("servers")
        if not isinstance(servers, Mapping):
            return made
        lost = {
            name: via
            for name, server in servers.items()
            if isinstance(server, Mapping)
            and isinstance(via := server.get("via"), Way)
            and self._here(via) in (None, NEXT, *VERDICTS)
        }
        if not lost:
            return made
        for name, via in lost.items():
            if via == LOST:
                continue  # way_name already
            self._note(0, f"dns.servers.{name}", f"is not asked: {way_name(via)!r} is not carried")
        nowhere = next(word for word in _NOWHERES if word not in servers)
        made_servers = {
            name: self._translated(one) for name, one in servers.items() if name not in lost
        }
        rules = [dict(rule) for rule in listed(made.get("rules", [])) if isinstance(rule, dict)]
        asked = False
        for section in (made, *rules):
            if "use" in section:
                left = [one for one in listed(section["use"]) if one not in lost]
                section["use"] = left or nowhere
                asked |= not left
        ways = self._made.sections["outbounds"].values()
        for key, sections in (("bootstrap", made_servers.values()), ("dns", ways)):
            for one in sections:
                if isinstance(one, dict) and one.get(key) in lost:
                    one[key] = nowhere
                    asked = True
        if asked:
            made_servers[nowhere] = _NOWHERE
        return {**made, "servers": made_servers, **({"rules": rules} if rules else {})}

    def _plain(self, section: Section) -> Section:
        return {key: self._translated(value) for key, value in section.items()}

    def _translated(self, value: object) -> object:
        if isinstance(value, Way):
            return self._here(value) or str(value)
        if isinstance(value, Mapping):
            return {key: self._translated(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._translated(part) for part in value]
        return value
