"""How a server is asked: with EDNS (RFC 6891), or without where it does not understand that."""

from __future__ import annotations

import time
from collections.abc import Callable

from byway.values.prefix import Prefix

REMEMBERED = 3600.0  # seconds: servers are mended, and lose padding and large answers until then


class Manner:
    """What is known of one server, whatever way it is asked by."""

    __slots__ = ("_clock", "_until", "subnet")

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, subnet: Prefix | None = None
    ) -> None:
        self.subnet = subnet
        """The network that clients are said to be in (RFC 7871); None: nothing is said."""
        self._clock = clock
        self._until = float("-inf")

    @property
    def edns(self) -> bool:
        """Whether to ask with EDNS."""
        return self._clock() >= self._until

    def forgo(self) -> None:
        """Ask without it, for an hour."""
        self._until = self._clock() + REMEMBERED

    def resume(self) -> None:
        """Ask with it again: it was not EDNS that the server did not understand."""
        self._until = float("-inf")
