"""A written document as a tree of values that know their places."""

from __future__ import annotations

from dataclasses import dataclass

from byway.flow import TCP_AND_UDP, Network

Scalar = str | int | float | bool | None


@dataclass(slots=True, eq=False)
class Node:
    """A value and where it stands. `content` is a scalar, a list of nodes, or a dict of `Entry`."""

    content: Scalar | list[Node] | dict[str, Entry]
    line: int = 0
    column: int = 0
    size: int = 1  # values inside and itself, aliases counted as often as they are used
    height: int = 1

    def plain(self) -> object:
        """The value without its places."""
        content = self.content
        if isinstance(content, dict):
            return {key: entry.value.plain() for key, entry in content.items()}
        if isinstance(content, list):
            return [item.plain() for item in content]
        return content

    def get(self, key: str) -> Node | None:
        """The value of a key, when this is a mapping that has it."""
        if isinstance(self.content, dict) and key in self.content:
            return self.content[key].value
        return None

    def text(self, key: str) -> str | None:
        """The text of a key; None where there is none."""
        found = self.get(key)
        return found.content if found is not None and isinstance(found.content, str) else None

    def networks(self, key: str, missing: frozenset[Network]) -> frozenset[Network]:
        """The networks that a key names, as far as they can be read; `missing` without the key."""
        found = self.get(key)
        if found is None:
            return missing
        words = {str(item.content) for item in found.items()}
        return frozenset(network for network in TCP_AND_UDP if network.value in words)

    def items(self) -> list[Node]:
        """The items of a list, or the one thing that may be written in place of one."""
        return self.content if isinstance(self.content, list) else [self]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A key's place and its value."""

    line: int
    column: int
    value: Node
