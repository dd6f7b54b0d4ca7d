"""Reading values of other programs' files that only importers need; see also `values.foreign`."""

from __future__ import annotations

import re

from byway.protocols.web_address import WebAddress
from byway.values.foreign import Fields, text
from byway.values.written import Node


def line_of(node: Node | None, key: str) -> int:
    """The line on which a key stands."""
    if node is not None and isinstance(node.content, dict) and key in node.content:
        return node.content[key].line
    return 0 if node is None else node.line


def seconds(node: Node | None) -> float:
    """Seconds of `86400`, `24h`, `1d`, `1h30m`; 0 for what is none."""
    found = text(node)
    if re.fullmatch("[0-9]{1,9}", found, re.ASCII):
        return float(found)
    parts = re.findall(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)", found, re.ASCII)
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
    return sum(float(count) * units[unit] for count, unit in parts)


def probe(found: Fields) -> dict[str, object]:
    """How the members of a group are tested, by `url` and `interval`; nothing that is no URL."""
    made: dict[str, object] = {}
    url = text(found.get("url"))
    try:
        WebAddress.parse(url)
    except (ValueError, UnicodeError):
        pass
    else:
        made["url"] = url
    if every := seconds(found.get("interval")):
        made["every"] = f"{int(min(max(every, 5), 86400))}s"
    return {"probe": made} if made else {}
