"""Reading binary lists: a cursor over bytes that never reads outside, and ranges as prefixes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from byway.engine.sets import trie_lines
from byway.rules.gathering import Bad

MOST_BYTES = 128 * 1024 * 1024
"""Of a list that is unpacked: one that grows without end is refused."""


class Cursor:
    """Bytes, read from front to back. Each method raises Bad where they end too early."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """So many bytes."""
        if not 0 <= count <= len(self._data) - self._at:
            raise Bad("it is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def fixed(self, size: int) -> int:
        """A number of `size` bytes in network order."""
        return int.from_bytes(self.take(size))

    def varying(self) -> int:
        """A number of seven bits a byte, the lowest first (LEB128), below 2^64."""
        found = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
        raise Bad("a number in it is too long")

    def count(self, least: int) -> int:
        """A number of things that follow, each of at least so many bytes."""
        found = self.varying()
        if found * least > len(self._data) - self._at:
            raise Bad("it is cut short")
        return found

    def text(self) -> str:
        """A text after its length. Bytes that are not UTF-8 are replaced."""
        return self.take(self.varying()).decode("utf-8", "replace")

    def texts(self) -> list[str]:
        """A number of texts."""
        return [self.text() for _ in range(self.count(1))]


def names_of(leaves: bytes, bitmap: bytes, labels: bytes, marks: str) -> bytes:
    """The names of a succinct trie, a line each. Raises Bad."""
    try:
        return trie_lines(leaves, bitmap, labels, marks, MOST_BYTES)
    except ValueError:
        raise Bad("its names are malformed") from None


def prefixes_of(first: bytes, last: bytes) -> Iterator[str]:
    """The prefixes that make up a range of addresses. Raises Bad for what is none."""
    if len(first) != len(last) or len(first) not in (4, 16) or first > last:
        raise Bad("a range of addresses in it is malformed")
    low, high, bits = int.from_bytes(first), int.from_bytes(last), len(first) * 8
    while low <= high:
        free = (low & -low).bit_length() - 1 if low else bits
        size = min(free, (high - low + 1).bit_length() - 1)
        yield f"{ipaddress.ip_address(low.to_bytes(bits // 8))}/{bits - size}"
        low += 1 << size
