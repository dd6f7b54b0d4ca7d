"""Sets whose names and prefixes the engine keeps; what it does not understand is read here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from byway.engine import EngineLists
from byway.rules.gathering import BadEntry, Gathering
from byway.rules.geo import NOWHERE, World
from byway.rules.lists import read_lines
from byway.rules.sets import Addresses, Contents, Names, Place


def contents_of(
    lists: EngineLists, form: str, world: World = NOWHERE
) -> tuple[Contents, list[BadEntry]]:
    """The set that a list is, and the entries of it that were passed over."""
    into = Gathering(world=world)
    read_lines(form, lists.rest, into)
    rest = into.contents()
    names, addresses, literal, _ = lists.sizes
    found = replace(
        rest,
        names=_either(EngineNames(lists, names), rest.names),
        addresses=_either_address(EngineAddresses(lists, addresses, False), rest.addresses),
        literal=_either_address(EngineAddresses(lists, literal, True), rest.literal),
    )
    return found, into.bad


class EngineNames:
    """The names of a list."""

    __slots__ = ("_count", "_lists", "holds")

    def __init__(self, lists: EngineLists, count: int) -> None:
        self._lists = lists
        self._count = count
        self.holds: Callable[[str], bool] = lists.has_name

    def __len__(self) -> int:
        return self._count

    def place(self, name: str) -> Place | None:
        """The entry nearest to a name that takes it."""
        found = self._lists.name_place(name)
        return None if found is None else Place(*found)


class EngineAddresses:
    """The prefixes of a list: those for names too, or the literal ones."""

    __slots__ = ("_count", "_lists", "_literal", "holds")

    def __init__(self, lists: EngineLists, count: int, literal: bool) -> None:
        self._lists = lists
        self._count = count
        self._literal = literal
        self.holds: Callable[[bytes], bool] = lists.has_literal if literal else lists.has_address

    def __len__(self) -> int:
        return self._count

    def place(self, packed: bytes) -> Place | None:
        """The widest prefix that an address is in."""
        found = self._lists.address_place(packed, self._literal)
        return None if found is None else Place(*found)


class EitherNames:
    """Two lists of names as one."""

    __slots__ = ("_one", "_other")

    def __init__(self, one: Names, other: Names) -> None:
        self._one, self._other = one, other

    def __len__(self) -> int:
        return len(self._one) + len(self._other)

    def holds(self, name: str) -> bool:
        """Whether a name is in either."""
        return self._one.holds(name) or self._other.holds(name)

    def place(self, name: str) -> Place | None:
        """The entry by which it is."""
        return self._one.place(name) or self._other.place(name)


class EitherAddresses:
    """Two lists of prefixes as one."""

    __slots__ = ("_one", "_other")

    def __init__(self, one: Addresses, other: Addresses) -> None:
        self._one, self._other = one, other

    def __len__(self) -> int:
        return len(self._one) + len(self._other)

    def holds(self, packed: bytes) -> bool:
        """Whether a packed address is in either."""
        return self._one.holds(packed) or self._other.holds(packed)

    def place(self, packed: bytes) -> Place | None:
        """The entry by which it is."""
        return self._one.place(packed) or self._other.place(packed)


def _either(one: Names, other: Names) -> Names:
    return EitherNames(one, other) if len(other) else one


def _either_address(one: Addresses, other: Addresses) -> Addresses:
    return EitherAddresses(one, other) if len(other) else one
