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
    return of_both(lists, into.contents()), into.bad


def of_both(lists: EngineLists, rest: Contents, numbered: bool = True) -> Contents:
    """The parts inside and outside the engine as one set. Lines that are not `numbered` say
    nothing to people."""
    names, addresses, literal, _ = lists.sizes
    return replace(
        rest,
        names=_either(EngineNames(lists, names, numbered), rest.names),
        addresses=_either_address(
            EngineAddresses(lists, addresses, False, numbered), rest.addresses
        ),
        literal=_either_address(EngineAddresses(lists, literal, True, numbered), rest.literal),
    )


class EngineNames:
    """The names of a list."""

    __slots__ = ("_count", "_lists", "_numbered", "holds")

    def __init__(self, lists: EngineLists, count: int, numbered: bool) -> None:
        self._lists = lists
        self._count = count
        self._numbered = numbered
        self.holds: Callable[[str], bool] = lists.has_name

    def __len__(self) -> int:
        return self._count

    def place(self, name: str) -> Place | None:
        """The entry nearest to a name that takes it."""
        return _place(self._lists.name_place(name), self._numbered)


class EngineAddresses:
    """The prefixes of a list: those for names too, or the literal ones."""

    __slots__ = ("_count", "_lists", "_literal", "_numbered", "holds")

    def __init__(self, lists: EngineLists, count: int, literal: bool, numbered: bool) -> None:
        self._lists = lists
        self._count = count
        self._numbered = numbered
        self._literal = literal
        self.holds: Callable[[bytes], bool] = lists.has_literal if literal else lists.has_address

    def __len__(self) -> int:
        return self._count

    def place(self, packed: bytes) -> Place | None:
        """The widest prefix that an address is in."""
        return _place(self._lists.address_place(packed, self._literal), self._numbered)


def _place(found: tuple[int, str] | None, numbered: bool) -> Place | None:
    return None if found is None else Place(found[0] if numbered else 0, found[1])


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
