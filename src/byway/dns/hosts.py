"""Names told by hand: `hosts` of the config, and localhost (RFC 6761, section 6.3). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_ALIASES = 8  # one after another


@dataclass(frozen=True, slots=True)
class Host:
    """What a name stands for: addresses, or another name."""

    addresses: tuple[bytes, ...] = ()
    alias: str | None = None


LOCALHOST = Host((bytes((127, 0, 0, 1)), bytes(15) + b"\x01"))


@dataclass(frozen=True, slots=True)
class Hosts:
    """Entries by their whole name, and by what they are below of (`*.example.com`)."""

    exact: Mapping[str, Host] = field(default_factory=dict)
    below: Mapping[str, Host] = field(default_factory=dict)

    def find(self, name: str) -> Host | None:
        """The entry of a name: its own, or that of the nearest name above."""
        name = name.removesuffix(".")
        if (found := self.exact.get(name)) is not None:
            return found
        if self.below:
            _, dot, above = name.partition(".")
            while dot:
                if (found := self.below.get(above)) is not None:
                    return found
                _, dot, above = above.partition(".")
        if name == "localhost" or name.endswith(".localhost"):
            return LOCALHOST
        return None

    def follow(self, name: str) -> tuple[str, tuple[bytes, ...] | None]:
        """Where a name leads: the last alias, and its addresses; None: ask for that name.

        Raises ValueError for aliases that go round, or on and on.
        """
        if (found := self.find(name)) is None:  # as a rule
            return name, None
        for _ in range(MOST_ALIASES):
            if found is None:
                return name, None
            if found.alias is None:
                return name, found.addresses
            name = found.alias
            found = self.find(name)
        raise ValueError(f"too many aliases of {name}")
