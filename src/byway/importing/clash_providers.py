"""Clash's providers of proxies: those that are written inline, or are files that are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from byway.config.read.tree import TreeError, parse
from byway.importing.draft import Draft
from byway.importing.name_filters import NameFilters, Unfit
from byway.values.foreign import Fields, fields, items, said, text
from byway.values.written import Node

_SILENT = {
    "type", "url", "path", "interval", "health-check", "payload", "filter", "exclude-filter",
    "exclude-type", "override", "dialer-proxy", "header", "proxy", "size-limit", "age-secret-key",
    "path-in-bundle",
}  # fmt: skip
_OVERRIDDEN = {
    "udp", "skip-cert-verify", "dialer-proxy", "interface-name", "routing-mark", "ip-version",
    "udp-over-tcp", "name-cert-verify", "tfo", "mptcp", "up", "down",
}  # fmt: skip
_NAMING = {"additional-prefix", "additional-suffix", "proxy-name"}


@dataclass(slots=True)
class Provider:
    """One provider: its ways by the names that groups use, with their proxies."""

    ways: dict[str, Fields] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    """What filters see of a way, where that is not its name."""
    lines: dict[str, int] = field(default_factory=dict)
    lost: bool = False
    """Whether it is not at hand, or not all of it."""


def read(
    node: Node | None, taken: set[str], filters: NameFilters, draft: Draft
) -> dict[str, Provider]:
    """The providers. A name that is `taken` already gets the provider's behind it."""
    found: dict[str, Provider] = {}
    for name, section in fields(node).items():
        part = fields(section)
        found[name] = provider = Provider()
        payload = part.get("payload")
        if payload is None and (path := text(part.get("path"))):
            payload = _file(Path(draft.folder or ".") / path)
        proxies = list(items(payload))
        try:
            for proxy in proxies:
                _proxy(name, proxy, part, taken, filters, provider)
        except Unfit as error:
            provider.lost = True
            draft.note(section.line, name, f"its proxies are not kept: {error}")
        if not proxies:
            provider.lost = True
            http = text(part.get("type")).lower() == "http"
            hint = "fetch it yourself: byway import its url" if http else "cannot be read"
            draft.note(section.line, name, f"a provider of proxies is not kept: {hint}")
        override = fields(part.get("override"))
        unknown = [(key, one) for key, one in part.items() if key not in _SILENT]
        unknown += [
            (f"override.{key}", one)
            for key, one in override.items()
            if key not in _OVERRIDDEN | _NAMING
        ]
        for key, one in unknown:
            if said(one):
                draft.note(one.line, name, f"{key} of a provider is not kept")
    return found


def _proxy(
    name: str, node: Node, part: Fields, taken: set[str], filters: NameFilters, into: Provider
) -> None:
    """One proxy, as the provider's filters and overrides make it. Raises Unfit."""
    proxy = fields(node)
    theirs, kind = text(proxy.get("name")), text(proxy.get("type"))
    if not theirs:
        return
    fits, refused = text(part.get("filter")), text(part.get("exclude-filter"))
    kinds = text(part.get("exclude-type")).lower().split("|")
    if fits and filters.searched(fits, theirs) is None:
        return
    if (refused and filters.searched(refused, theirs) is not None) or kind.lower() in kinds:
        return
    override = fields(part.get("override"))
    shown = theirs
    for one in items(override.get("proxy-name")):
        change = fields(one)
        shown = filters.replaced(text(change.get("pattern")), text(change.get("target")), shown)
    shown = (
        text(override.get("additional-prefix")) + shown + text(override.get("additional-suffix"))
    )
    way, count = shown, 1
    while way in taken:
        way = f"{shown} ({name}{'' if count == 1 else f' {count}'})"
        count += 1
    taken.add(way)
    if way != shown:
        into.shown[way] = shown
    if "dialer-proxy" in part:
        proxy = proxy | {"dialer-proxy": part["dialer-proxy"]}
    into.ways[way] = proxy | {key: one for key, one in override.items() if key in _OVERRIDDEN}
    into.lines[way] = node.line


def _file(path: Path) -> Node | None:
    try:
        if path.stat().st_size > 16 * 1024 * 1024:
            return None
        root, _ = parse(path.read_text(encoding="utf-8"), foreign=True)
    except (OSError, ValueError, TreeError):
        return None
    return fields(root).get("proxies")
