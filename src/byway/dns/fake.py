"""Fake addresses: each stands for a name, so that a flow to it is one to the name. Pure.

An address comes of a hash of the name, so that a name has the same one after a restart; where two
names meet the later one takes the next place that is free, and keeps it, since places are
remembered. One place is the same number in the ranges of both families.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from byway.values.prefix import Prefix

RESERVED = 256  # places at the begin of a range: for the addresses of devices
LAST = 1  # places at its end: the broadcast address of IPv4
CROWDED = 2  # a range has so many times more places than names, so that probes stay short
MOST_PROBES = 4096


class FakeNames:
    """The names that have a place, the least recently used first: at most `most` of them, and half
    as many as the smallest range has places."""

    def __init__(self, ranges: Sequence[Prefix], most: int) -> None:
        self.ranges = tuple(ranges)
        size = min((2 ** (one.size * 8 - one.bits) for one in ranges), default=0)
        self._places = max(0, size - RESERVED - LAST)
        self.most = max(1, min(most, self._places // CROWDED))
        self._names: dict[int, str] = {}
        self._found: OrderedDict[str, int] = OrderedDict()
        self._spans = [
            (one.size, one.head << (one.size * 8 - one.bits), 2 ** (one.size * 8 - one.bits))
            for one in ranges
        ]
        self.changes = 0  # goes up with each name that came or went

    def __len__(self) -> int:
        return len(self._names)

    @property
    def places(self) -> Iterator[tuple[str, int]]:
        """All names with their places, the least recently used first."""
        return iter(self._found.items())

    def restore(self, places: Iterable[tuple[str, int]]) -> None:
        """Take names back, the least recently used first; what cannot be is left out."""
        for name, place in places:
            if 0 <= place < self._places and place not in self._names and name not in self._found:
                self._put(name, place)

    def addresses(self, name: str) -> tuple[bytes, ...]:
        """The addresses of a name, one of each range; a name without a place gets one, and the
        least recently used name gives its own up where there are too many."""
        place = self._found.get(name)
        if place is None:
            place = self._free(name)
            self._put(name, place)
        else:
            self._found.move_to_end(name)
        number = place + RESERVED
        return tuple((first + number).to_bytes(size) for size, first, _ in self._spans)

    def holds(self, packed: bytes) -> bool:
        """Whether an address is in one of the ranges, and so nobody's."""
        return self._number(packed) is not None

    def name(self, packed: bytes) -> str | None:
        """The name that an address stands for, which is used now; None: it stands for none."""
        number = self._number(packed)
        if number is None:
            return None
        name = self._names.get(number - RESERVED)
        if name is not None:
            self._found.move_to_end(name)
        return name

    def _number(self, packed: bytes) -> int | None:
        value = int.from_bytes(packed)
        for size, first, count in self._spans:
            if len(packed) == size and first <= value < first + count:
                return value - first
        return None

    def _put(self, name: str, place: int) -> None:
        while len(self._names) >= self.most:
            _, oldest = self._found.popitem(last=False)
            del self._names[oldest]
        self._names[place] = name
        self._found[name] = place
        self.changes += 1

    def _free(self, name: str) -> int:
        """The place of the name's hash, or the next one that is free."""
        digest = blake2b(name.encode(), digest_size=8).digest()
        place = int.from_bytes(digest) % self._places
        for _ in range(MOST_PROBES):
            if place not in self._names:
                return place
            place = (place + 1) % self._places
        _, taken = self._found.popitem(last=False)
        del self._names[taken]
        self.changes += 1
        return taken
