"""Clash's groups of proxies, with the members that mihomo would give them, carried or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from byway import dialects
from byway.importing.clash_providers import Provider
from byway.importing.draft import Draft, Section, Way
from byway.importing.name_filters import NameFilters, Unfit
from byway.importing.source import probe
from byway.values.foreign import Fields, fields, flag, items, number, text, texts

_KINDS = {"select", "url-test", "fallback", "load-balance", "relay"}
_BALANCED = {
    "round-robin": "round-robin",
    "consistent-hashing": "hash",
    "sticky-sessions": "sticky",
}
_NAMES_OF_KINDS = {
    "ssr": "shadowsocksr", "select": "selector", "url-test": "urltest",
    "load-balance": "loadbalance",
}  # fmt: skip
"""What `exclude-type` calls a kind, where that is not as it is written elsewhere."""


@dataclass(frozen=True, slots=True)
class Roster:
    """All that groups choose from."""

    proxies: tuple[str, ...]
    providers: dict[str, Provider]
    kinds: dict[str, str]
    """Of every way, theirs: its type."""
    shown: dict[str, str]
    """What filters see of a way, where that is not its name."""


def read(top: Fields, roster: Roster, filters: NameFilters, draft: Draft) -> None:
    """Take over the groups, in any order."""
    relays = []
    for node in items(top.get("proxy-groups")):
        found = fields(node)
        name, kind = text(found.get("name")), text(found.get("type")).lower()
        if not name:
            draft.note(node.line, "a group", "has no name")
        elif kind not in _KINDS:
            draft.lost(name, node.line, f"a group of type {kind or '?'} is not there")
        else:
            members = _Members(name, node.line, found, roster, filters, draft).all()
            if kind == "relay":
                relays.append((name, node.line, members))
            else:
                _group(name, kind, node.line, found, members, draft)
    for name, line, hops in relays:
        _relay(name, line, hops, draft)


@dataclass(slots=True)
class _Members:
    """The members of one group."""

    name: str
    line: int
    found: Fields
    roster: Roster
    filters: NameFilters
    draft: Draft

    def all(self) -> list[Way]:
        """The members, in mihomo's order, each once."""
        taken = text(self.found.get("filter"))
        refused = text(self.found.get("exclude-filter"))
        kinds = {kind.lower() for kind in text(self.found.get("exclude-type")).split("|") if kind}
        try:
            named = self._in_turn(taken, list(dict.fromkeys(self._named(taken))))
            members = [
                Way(way)
                for way in named
                if not (refused and self._fits(refused, way) is not None)
                and self._kind(way) not in kinds
            ]
        except Unfit as error:
            self.draft.note(self.line, self.name, f"its filter is not kept: {error}")
            lost = self._lost("filter", "its filter is not kept")
            return [*map(Way, texts(self.found.get("proxies"))), lost]
        if not members and (other := text(self.found.get("empty-fallback"))):
            return [Way(other)]
        if not members:
            self.draft.note(self.line, self.name, "it is empty: rejects here, direct there")
        return members

    def _named(self, taken: str) -> Iterator[str]:
        """Named ones whatever the filter says, then all that fit it."""
        every = flag(self.found.get("include-all"))
        yield from self._counted(texts(self.found.get("proxies")))
        if every or flag(self.found.get("include-all-proxies")):
            for way in self._counted(sorted(self.roster.proxies)):
                if not taken or self._fits(taken, way) is not None:
                    yield way
        for name in self._use():
            provider = self.roster.providers.get(name)
            if provider is None or provider.lost:
                yield self._lost(f"provider {name}", "a provider that is not kept")
            if provider is not None:
                yield from self._filtered(taken, provider.ways)

    def _use(self) -> list[str]:
        every = flag(self.found.get("include-all"))
        if every or flag(self.found.get("include-all-providers")):
            return sorted(self.roster.providers)
        return texts(self.found.get("use"))

    def _filtered(self, taken: str, ways: Iterable[str]) -> Iterator[str]:
        """Those of a provider that fit, by the patterns in turn."""
        found = self._counted(ways)
        if not taken:
            yield from found
            return
        fitting = [(at, way) for way in found if (at := self._fits(taken, way)) is not None]
        yield from (way for _, way in sorted(fitting, key=lambda pair: pair[0]))

    def _in_turn(self, taken: str, ways: list[str]) -> list[str]:
        """Of several patterns and sources, all by the patterns in turn; the rest at the end."""
        sources = len(self._use()) + self._has_own()
        if "`" not in taken or sources < 2:
            return ways
        last = len(taken)
        order = {way: self._fits(taken, way) for way in ways}
        return sorted(ways, key=lambda way: last if order[way] is None else order[way] or 0)

    def _has_own(self) -> bool:
        return any(key in self.found for key in ("proxies", "include-all", "include-all-proxies"))

    def _fits(self, written: str, way: str) -> int | None:
        return self.filters.searched(written, self.roster.shown.get(way, way))

    def _counted(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            self.draft.step()
            yield name

    def _kind(self, way: str) -> str:
        kind = self.roster.kinds.get(way, way.lower())
        return (
            (_NAMES_OF_KINDS | dict(dialects.foreign("clash").called))
            .get(kind, kind)
            .replace("-", "")
        )

    def _lost(self, what: str, why: str) -> Way:
        """Stands for members that are not known."""
        way = Way(f"\0{what}")
        self.draft.gone[way] = why
        return way


def _group(
    name: str, kind: str, line: int, found: Fields, members: list[Way], draft: Draft
) -> None:
    content: Section = {"type": kind, "members": members}
    if kind == "url-test":
        content["type"] = "fastest"
        if "tolerance" in found:
            content["tolerance"] = f"{min(number(found['tolerance']), 10_000)}ms"
    elif kind == "load-balance":
        content["type"] = "balance"
        strategy = text(found.get("strategy")) or "consistent-hashing"
        content["by"] = _BALANCED.get(strategy, "round-robin")
    if kind == "select":
        if (chosen := text(found.get("default-selected"))) in members:
            content["default"] = Way(chosen)
    else:
        content |= probe(found)
    for key in ("interface-name", "routing-mark", "disable-udp"):
        if text(found.get(key)) not in ("", "false", "0"):
            draft.note(found[key].line, name, f"{key} of a group is not kept")
    draft.group(name, line, content)


def _relay(name: str, line: int, hops: list[Way], draft: Draft) -> None:
    """A chain: copies of the hops, each by way of the one before."""
    copies: list[Section] = []
    for hop in hops:
        item = draft.entries["outbounds"].get(draft.names.get(hop, ""))
        if item is None or "server" not in item.content or "via" in item.content:
            draft.lost(name, line, f"a chain through {str(hop)!r} has no equivalent")
            return
        copies.append(dict(item.content))
    if not copies:
        draft.lost(name, line, "a chain without a hop")
    before: Way | None = None
    for at, content in enumerate(copies, 1):
        if before is not None:
            content["via"] = before
        before = Way(name if at == len(copies) else draft.free_name(f"{name} {at}"))
        draft.outbound(before, line, content)
