"""Reading values of other programs' files: by key, in any spelling, with their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from byway.protocols.web_address import WebAddress
from byway.values.written import Entry, Node

Fields = dict[str, Node]


def fields(node: Node | None) -> Fields:
    """The keys of a mapping with their values, merge keys (<<) resolved; none of what is none."""
    if node is None or not isinstance(node.content, dict):
        return {}
    found: Fields = {}
    merged: Entry | None = node.content.get("<<")
    for part in merged.value.items() if merged is not None else ():
        found = fields(part) | found
    return found | {key: one.value for key, one in node.content.items() if key != "<<"}


def line_of(node: Node | None, key: str) -> int:
    """The line on which a key stands."""
    if node is not None and isinstance(node.content, dict) and key in node.content:
        return node.content[key].line
    return 0 if node is None else node.line


def text(node: Node | None) -> str:
    """A scalar as it is written; "" for none."""
    if node is None or node.content is None or isinstance(node.content, list | dict):
        return ""
    if isinstance(node.content, bool):
        return "true" if node.content else "false"
    return str(node.content)


def flag(node: Node | None) -> bool:
    """Whether a value says yes."""
    return text(node).lower() in ("true", "yes", "on", "1")


def said(node: Node) -> bool:
    """Whether a value asks for something: not empty, not false, no section that is disabled."""
    if isinstance(node.content, dict):
        found = fields(node)
        return bool(found) and ("enabled" not in found or flag(found["enabled"]))
    return bool(node.content) and text(node) != "false"


def number(node: Node | None) -> int:
    """A whole number; 0 for what is none."""
    found = text(node)
    return int(found) if re.fullmatch("[0-9]{1,9}", found, re.ASCII) else 0


def mark_of(node: Node | None) -> int:
    """A firewall mark, decimal or hexadecimal; 0 for none."""
    found = text(node)
    return int(found, 0) if re.fullmatch(r"0x[0-9a-fA-F]{1,8}|0|[1-9][0-9]{0,9}", found) else 0


def items(node: Node | None) -> Iterator[Node]:
    """The items of a list, or the one thing in its place; nothing of nothing."""
    if node is not None and node.content is not None:
        yield from node.items()


def texts(node: Node | None) -> list[str]:
    """The texts of a list, or the one in its place."""
    return [found for item in items(node) if (found := text(item))]


def endpoint(host: str, port: int) -> str:
    """host:port, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
