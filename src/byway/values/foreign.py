"""An entry of another program's file, as a card reads it: which keys were read is known afterwards.

Keys that were not read are noted as not kept, so that no card has to list them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from byway.values.written import Entry, Node

Fields = dict[str, Node]

Note = Callable[[int, str], None]
"""Takes a line, and why something of the entry is not as it was."""


class NotCarried(Exception):  # noqa: N818 - says of an entry what it is, as Wrong does of a value
    """There is nothing here that the entry could become; the message says why."""


class Foreign:
    """One mapping of another program's file, read by key."""

    def __init__(self, found: Fields, note: Note, line: int = 0, path: str = "") -> None:
        self.line = line
        self._found = found
        self._note = note
        self._path = path
        self._read: set[str] = set()
        self._parts: dict[str, Foreign] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def text(self, *keys: str) -> str:
        """The text of the first of these keys that has one; "" for none."""
        self._read.update(keys)
        return next((found for key in keys if (found := text(self._found.get(key)))), "")

    def flag(self, key: str) -> bool:
        """Whether a key says yes."""
        return flag(self._node(key))

    def number(self, key: str) -> int:
        """The whole number of a key; 0 for none."""
        return number(self._node(key))

    def texts(self, key: str) -> list[str]:
        """The texts of a key's list, or the one in its place."""
        return texts(self._node(key))

    def part(self, key: str) -> Foreign:
        """The mapping of a key; an empty one for none."""
        if key not in self._parts:
            node = self._node(key)
            line = self.line if node is None else node.line
            self._parts[key] = Foreign(fields(node), self._note, line, f"{self._path}{key}.")
        return self._parts[key]

    def parts(self, key: str) -> Iterator[Foreign]:
        """The mappings of a key's list."""
        for item in items(self._node(key)):
            yield Foreign(fields(item), self._note, item.line, f"{self._path}{key}.")

    def keys(self) -> list[str]:
        """Its keys, which count as read."""
        self._read.update(self._found)
        return list(self._found)

    def says(self, key: str) -> bool:
        """Whether a key asks for something: not empty, not false, no section that is disabled."""
        node = self._node(key)
        return node is not None and said(node)

    def enabled(self, key: str) -> bool:
        """Whether a section is there that says that it is enabled."""
        return self.part(key).flag("enabled")

    def pass_over(self, *keys: str) -> None:
        """These keys change nothing that is carried."""
        self._read.update(keys)

    def note(self, key: str, why: str) -> None:
        """Tell that something of a key is not as it was. No secret may be in it."""
        self._read.add(key)
        node = self._found.get(key)
        self._note(self.line if node is None else node.line, why)

    def tell_unread(self) -> None:
        """Tell of every key that says something and was not read."""
        for key, node in self._found.items():
            if key in self._parts:
                self._parts[key].tell_unread()
            elif key not in self._read and said(node):
                self._note(node.line, f"{self._path}{key} is not kept")

    def _node(self, key: str) -> Node | None:
        self._read.add(key)
        return self._found.get(key)


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
