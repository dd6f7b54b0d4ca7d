"""Conditions on where in the world an address is: its country, and the network it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from byway.flow import Flow
from byway.rules.matchers import Answer, addresses
from byway.rules.verdicts import Fact, Facts


class Countries(Protocol):
    """Finds the country of an address."""

    def country(self, packed: bytes) -> str:
        """Its ISO 3166-1 code in capitals; empty where that is not known."""


class Systems(Protocol):
    """Finds the autonomous system of an address."""

    def system(self, packed: bytes) -> int:
        """The number of it; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class World:
    """The databases in use; None where none is configured."""

    countries: Countries | None = None
    systems: Systems | None = None


NOWHERE = World()


@dataclass(frozen=True, slots=True)
class InCountry:
    """The target's address, or one of the addresses of its name, is in one of these countries.

    Unless it `resolves`, only a name that an earlier rule has resolved has addresses.
    """

    codes: frozenset[str]
    world: Countries
    resolves: bool = True

    def match(self, flow: Flow, facts: Facts) -> Answer:
        found = addresses(flow, facts, self.resolves)
        if isinstance(found, Fact):
            return found
        return any(self.world.country(packed) in self.codes for packed in found)


@dataclass(frozen=True, slots=True)
class InSystem:
    """The target's address, or one of the addresses of its name, belongs to one of these systems.

    Unless it `resolves`, only a name that an earlier rule has resolved has addresses.
    """

    numbers: frozenset[int]
    world: Systems
    resolves: bool = True

    def match(self, flow: Flow, facts: Facts) -> Answer:
        found = addresses(flow, facts, self.resolves)
        if isinstance(found, Fact):
            return found
        return any(self.world.system(packed) in self.numbers for packed in found)


@dataclass(frozen=True, slots=True)
class FromCountry:
    """The flow came from one of these countries; one from a unix socket came from none."""

    codes: frozenset[str]
    world: Countries

    def match(self, flow: Flow, facts: Facts) -> Answer:
        source = flow.source
        if source is None or source.packed is None:
            return False
        return self.world.country(source.packed) in self.codes


@dataclass(frozen=True, slots=True)
class FromSystem:
    """The flow came from one of these systems; one from a unix socket came from none."""

    numbers: frozenset[int]
    world: Systems

    def match(self, flow: Flow, facts: Facts) -> Answer:
        source = flow.source
        if source is None or source.packed is None:
            return False
        return self.world.system(source.packed) in self.numbers
