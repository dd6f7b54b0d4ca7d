"""Keeps the flows within the limit on open files."""

from __future__ import annotations

from typing import Protocol

from byway.errors import Reason, Refused
from byway.interfaces import Bounds, InForce


class Closable(Protocol):
    """A holder of descriptors, which gives them back when it is closed."""

    def close(self) -> None: ...


class Room:
    """Counts flows, and what takes as many descriptors as one, up to the `flows` in force.

    Connections that are kept for later use take places too, as long as nobody else needs them: the
    one that was kept first is closed first.
    """

    __slots__ = ("_in_force", "_kept", "taken")

    def __init__(self, in_force: InForce[Bounds]) -> None:
        self._in_force = in_force
        self.taken = 0
        self._kept: dict[Closable, None] = {}  # the oldest first

    @property
    def total(self) -> int:
        """How many places there are."""
        return self._in_force.now.flows

    @property
    def kept(self) -> int:
        """Connections that wait for their next use."""
        return len(self._kept)

    def enter(self) -> None:
        """Take a place. Raises Refused (LIMIT) where there is none."""
        if self.taken + len(self._kept) >= self.total and not self._give_up():
            raise Refused(f"already {self.total} flows (limits.flows)", Reason.LIMIT)
        self.taken += 1

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1

    def keep(self, stream: Closable) -> None:
        """Keep a connection until it is taken again, or its place is needed: then it is closed."""
        if self.taken + len(self._kept) >= self.total and not self._give_up():
            stream.close()
        else:
            self._kept[stream] = None

    def take(self, stream: Closable) -> None:
        """Use a kept connection again, or let it go; one that was given up is closed already."""
        self._kept.pop(stream, None)

    def _give_up(self) -> bool:
        oldest = next(iter(self._kept), None)
        if oldest is None:
            return False
        del self._kept[oldest]
        oldest.close()
        return True
