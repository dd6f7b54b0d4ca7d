"""Clash's proxies. `clash_providers.py` reads those of providers, `clash_groups.py` the groups."""

from __future__ import annotations

from byway import dialects
from byway.importing import clash_groups, clash_providers
from byway.importing.draft import NEXT, Draft, Section, Way
from byway.importing.links import NOT_YET
from byway.importing.name_filters import NameFilters
from byway.values.foreign import (
    Fields,
    Foreign,
    NotCarried,
    endpoint,
    fields,
    items,
    mark_of,
    text,
)

BUILT_IN = {
    "DIRECT": "direct",
    "REJECT": "reject",
    "REJECT-DROP": "drop",
    "REJECT-TINYGIF": "reject",
    "COMPATIBLE": "direct",
    "PASS": NEXT,
}
_COMMON = (
    "name", "type", "server", "port", "udp", "dialer-proxy", "interface-name", "routing-mark",
    "ip-version", "tfo", "fast-open", "mptcp", "client-fingerprint", "country", "network",
)  # fmt: skip
"""What every proxy may have, read here or without a meaning for what is carried."""


def read(top: Fields, draft: Draft) -> None:
    """Take over proxies, those of providers that are at hand, and groups."""
    for theirs, ours in BUILT_IN.items():
        if not draft.known(theirs):
            draft.verdict(theirs, ours)
    filters, kinds = NameFilters(), {}
    proxies: dict[str, None] = {}
    for node in items(top.get("proxies")):
        found = fields(node)
        if not (name := text(found.get("name"))):
            draft.note(node.line, "a proxy", "has no name")
            continue
        if not draft.known(name):
            proxies[name], kinds[name] = None, text(found.get("type")).lower()
        _proxy(name, node.line, found, draft)
    groups = {text(fields(node).get("name")) for node in items(top.get("proxy-groups"))}
    taken = {*proxies, *groups, *BUILT_IN}
    providers = clash_providers.read(top.get("proxy-providers"), taken, filters, draft)
    for provider in providers.values():
        for name, found in provider.ways.items():
            kinds[name] = text(found.get("type")).lower()
            _proxy(name, provider.lines[name], found, draft)
    for node in items(top.get("proxy-groups")):
        kinds.setdefault(text(fields(node).get("name")), text(fields(node).get("type")).lower())
    shown = {way: name for one in providers.values() for way, name in one.shown.items()}
    roster = clash_groups.Roster(tuple(proxies), providers, kinds, shown)
    clash_groups.read(top, roster, filters, draft)
    if not list(items(top.get("rules") or top.get("rule"))):
        provided = [way for one in providers.values() for way in one.ways]
        _without_rules(top, [*proxies, *provided], draft)


def _without_rules(top: Fields, ways: list[str], draft: Draft) -> None:
    """What a provider's URL gives: proxies, and no word of what is to go by them."""
    groups = [text(fields(node).get("name")) for node in items(top.get("proxy-groups"))]
    if groups:
        draft.otherwise = {"otherwise": Way(groups[0])}
        draft.note(0, "rules", f"there are no rules: everything uses {groups[0]!r}")
    elif ways:
        draft.otherwise = {"otherwise": Way(ways[0])}
        draft.everything_by(way for way in ways if way not in draft.gone)


def _proxy(name: str, line: int, found: Fields, draft: Draft) -> None:
    entry = Foreign(found, lambda at, why: draft.note(at, name, why), line)
    kind = entry.text("type").lower()
    entry.pass_over(*_COMMON)
    if kind == "direct":
        if via := entry.text("dialer-proxy"):
            draft.lost(name, line, f"direct through {via!r} has no equivalent: use that itself")
            return
        content: Section = {"type": "direct", **_leaving(found)}
    elif kind in ("reject", "reject-drop"):
        draft.verdict(name, "drop" if kind == "reject-drop" else "reject")
        return
    elif (read := dialects.foreign("clash").leaving.get(kind)) is None:
        draft.lost(name, line, f"{NOT_YET.get(kind, kind or '?')} is not supported yet")
        return
    else:
        try:
            content = read(entry)
        except NotCarried as error:
            draft.lost(name, line, str(error))
            return
        server = endpoint(entry.text("server"), entry.number("port"))
        content = {"type": content.pop("type"), "server": server, **content}
        _reached(name, found, content, draft)
    entry.tell_unread()
    version = entry.text("ip-version")
    if version not in ("", "dual"):
        entry.note("ip-version", f"ip-version: {version[:20]} is not kept")
    draft.outbound(name, line, content)


def _leaving(found: Fields) -> Section:
    """How a connection leaves this host: by which interface, under which mark."""
    leaving: Section = {}
    if interface := text(found.get("interface-name")):
        leaving["interface"] = interface
    if mark := mark_of(found.get("routing-mark")):
        leaving["mark"] = mark
    return leaving


def _reached(name: str, found: Fields, content: Section, draft: Draft) -> None:
    """How the proxy itself is reached: by another one, by an interface, under a mark."""
    leaving = _leaving(found)
    if via := text(found.get("dialer-proxy")):
        content["via"] = Way(via)
    elif leaving and "plugin" not in content:
        content["via"] = draft.leaving_by(leaving)
    for key in (
        ("interface-name", "routing-mark") if leaving and (via or "plugin" in content) else ()
    ):
        if key in found:
            draft.note(found[key].line, name, f"{key} is not kept")
