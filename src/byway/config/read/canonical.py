"""Names that look the same in an editor: one name in one form (UAX 15, form C), or refused."""

from __future__ import annotations

from collections.abc import Sequence

from byway.values.name import look, normal, visible
from byway.values.problems import Problems
from byway.values.written import Entry, Node

SECTIONS = ("inbounds", "outbounds", "groups", "sets")
_SPACES = (("inbounds",), ("outbounds", "groups"), ("sets",))  # each has its own names
_REFERENCES = frozenset({"to", "otherwise", "via", "members", "default", "inbound", "set"})


def canonical(root: Node) -> None:
    """Put the names of sections, and whatever refers to them, into normal form C."""
    for section in SECTIONS:
        node = root.get(section)
        if node is not None and isinstance(node.content, dict):
            named: dict[str, Entry] = {}
            for name, entry in node.content.items():
                # one that is there already stays as it is written: the check tells of it
                named[normal(name) if normal(name) not in node.content else name] = entry
            node.content = named
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        inside: list[Node] = []
        if isinstance(node.content, list):
            inside = node.content
        elif isinstance(node.content, dict):
            for key, entry in node.content.items():
                inside.append(entry.value)
                if key in _REFERENCES:
                    for item in entry.value.items():
                        if isinstance(item.content, str):
                            item.content = normal(item.content)
        waiting += [one for one in inside if id(one) not in seen]
        seen.update(map(id, inside))


def look_alikes(root: Node, problems: Problems, reserved: Sequence[str]) -> None:
    """Note names that nobody can tell from another, or from a word of ours, by eye."""
    for sections in _SPACES:
        known = {word: word for word in reserved}
        for section in sections:
            node = root.get(section)
            for name in node.content if node is not None and isinstance(node.content, dict) else ():
                other = known.setdefault(look(name), name)
                if other != name:
                    message = f"looks like the other name {visible(other)!r}"
                    hint = "rename one of them"
                    problems.add((section, name), message, hint, at_key=True)
