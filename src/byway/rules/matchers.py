"""Conditions on a flow: small frozen values with one method.

`match` answers True, False, or the `Fact` it would need to answer. `All` combines answers as
Kleene's three-valued logic does: one False decides, whatever the others lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from byway.flow import Flow, Network
from byway.rules.prefix import Prefix
from byway.rules.verdicts import Fact, Facts

Answer = bool | Fact


class Matcher(Protocol):
    """A condition: pure, and cheap enough to be asked for each flow."""

    def match(self, flow: Flow, facts: Facts) -> Answer:
        """Whether it holds for this flow, or which fact would tell."""


@dataclass(frozen=True, slots=True)
class Domain:
    """The target is one of these names (lower case, no trailing dot)."""

    names: frozenset[str]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        target = flow.target
        return target.packed is None and target.host in self.names


@dataclass(frozen=True, slots=True)
class DomainSuffix:
    """The target is one of these names, or below it."""

    names: frozenset[str]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        target = flow.target
        if target.packed is not None:
            return False
        name, names = target.host, self.names
        while name not in names:
            _, dot, name = name.partition(".")
            if not dot:
                return False
        return True


class PrefixSet:
    """Prefixes by their length, so that a look-up costs one set probe per length in use."""

    __slots__ = ("_v4", "_v6", "prefixes")

    def __init__(self, prefixes: tuple[Prefix, ...]) -> None:
        self.prefixes = prefixes
        self._v4 = _by_shift(prefixes, 4)
        self._v6 = _by_shift(prefixes, 16)

    def holds(self, packed: bytes) -> bool:
        """Whether a packed address is in any of the prefixes."""
        number = int.from_bytes(packed)
        for shift, heads in self._v4 if len(packed) == 4 else self._v6:
            if number >> shift in heads:
                return True
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrefixSet) and self.prefixes == other.prefixes

    def __hash__(self) -> int:
        return hash(self.prefixes)

    def __repr__(self) -> str:
        return f"PrefixSet({', '.join(map(str, self.prefixes))})"


@dataclass(frozen=True, slots=True)
class Address:
    """The target's address, or one of the addresses of its name, is in one of these prefixes."""

    prefixes: PrefixSet

    def match(self, flow: Flow, facts: Facts) -> Answer:
        packed = flow.target.packed
        if packed is not None:
            return self.prefixes.holds(packed)
        if facts.addresses is None:
            return Fact.ADDRESS
        return any(map(self.prefixes.holds, facts.addresses))


@dataclass(frozen=True, slots=True)
class Source:
    """The flow came from one of these prefixes; one from a unix socket came from none."""

    prefixes: PrefixSet

    def match(self, flow: Flow, facts: Facts) -> Answer:
        source = flow.source
        if source is None or source.packed is None:
            return False
        return self.prefixes.holds(source.packed)


@dataclass(frozen=True, slots=True)
class Port:
    """The target's port is in one of these ranges, both ends included."""

    ranges: tuple[tuple[int, int], ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        port = flow.target.port
        for first, last in self.ranges:  # noqa: SIM110 - a generator costs three times as much
            if first <= port <= last:
                return True
        return False


@dataclass(frozen=True, slots=True)
class OnNetwork:
    """The flow is TCP, or UDP."""

    networks: tuple[Network, ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        return flow.network in self.networks


@dataclass(frozen=True, slots=True)
class FromInbound:
    """The flow came in here."""

    names: frozenset[str]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        return flow.inbound in self.names


@dataclass(frozen=True, slots=True)
class OfUser:
    """The flow belongs to one of these users; a flow without a user belongs to none."""

    names: frozenset[str]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        return flow.user is not None and flow.user in self.names


@dataclass(frozen=True, slots=True)
class All:
    """Every one of the conditions holds; of none, it always does."""

    of: tuple[Matcher, ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        lacking: Answer = True
        for matcher in self.of:
            answer = matcher.match(flow, facts)
            if answer is False:
                return False
            if answer is not True and lacking is True:
                lacking = answer
        return lacking


ALWAYS = All(())


def _by_shift(prefixes: tuple[Prefix, ...], size: int) -> tuple[tuple[int, frozenset[int]], ...]:
    heads: dict[int, set[int]] = {}
    for prefix in prefixes:
        if prefix.size == size:
            heads.setdefault(size * 8 - prefix.bits, set()).add(prefix.head)
    return tuple((shift, frozenset(found)) for shift, found in sorted(heads.items()))
