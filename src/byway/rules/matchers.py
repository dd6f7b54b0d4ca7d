"""Conditions on a flow: small frozen values with one method.

`match` answers True, False, or the `Fact` it would need to answer. `All`, `AnyOf` and `Not` combine
answers as Kleene's three-valued logic does: one False decides an `All`, whatever the others lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from byway.flow import Flow, Network
from byway.rules.verdicts import Fact, Facts
from byway.values.prefix import Prefix

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

    def find(self, packed: bytes) -> Prefix | None:
        """The first of the prefixes that a packed address is in."""
        return next((prefix for prefix in self.prefixes if prefix.holds(packed)), None)

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
    """The target's address, or one of the addresses of its name, is in one of these prefixes.

    Unless it `resolves`, only a name that an earlier rule has resolved has addresses.
    """

    prefixes: PrefixSet
    resolves: bool = True

    def match(self, flow: Flow, facts: Facts) -> Answer:
        packed = flow.target.packed
        if packed is not None:
            return self.prefixes.holds(packed)
        found = addresses(flow, facts, self.resolves)
        return found if isinstance(found, Fact) else any(map(self.prefixes.holds, found))


@dataclass(frozen=True, slots=True)
class Version:
    """The target's address, or one of the addresses of its name, is of this size (4 or 16).

    Unless it `resolves`, only a name that an earlier rule has resolved has addresses.
    """

    size: int
    resolves: bool = True

    def match(self, flow: Flow, facts: Facts) -> Answer:
        found = addresses(flow, facts, self.resolves)
        if isinstance(found, Fact):
            return found
        return any(len(packed) == self.size for packed in found)


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A condition for which nobody resolves a name: one that no earlier rule has resolved has no
    address."""

    of: Matcher

    def match(self, flow: Flow, facts: Facts) -> Answer:
        return self.of.match(flow, self.seen(facts))

    def seen(self, facts: Facts) -> Facts:
        """The facts that it may use."""
        return facts if facts.open or facts.addresses == () else replace(facts, addresses=())


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
class SourcePort:
    """The flow came from one of these ports; one from a unix socket came from none."""

    ranges: tuple[tuple[int, int], ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        source = flow.source
        if source is None:
            return False
        return any(first <= source.port <= last for first, last in self.ranges)


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


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the conditions holds, at least; of none, it never does."""

    of: tuple[Matcher, ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        lacking: Answer = False
        for matcher in self.of:
            answer = matcher.match(flow, facts)
            if answer is True:
                return True
            if answer is not False and lacking is False:
                lacking = answer
        return lacking


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    of: Matcher

    def match(self, flow: Flow, facts: Facts) -> Answer:
        answer = self.of.match(flow, facts)
        return answer if isinstance(answer, Fact) else not answer


ALWAYS = All(())


def addresses(flow: Flow, facts: Facts, resolves: bool = True) -> Sequence[bytes] | Fact:
    """The addresses that a condition looks at, or the fact that is lacking."""
    if flow.target.packed is not None:
        return (flow.target.packed,)
    if not resolves and not facts.open:
        return ()
    return Fact.ADDRESS if facts.addresses is None else facts.addresses


def _by_shift(prefixes: tuple[Prefix, ...], size: int) -> tuple[tuple[int, frozenset[int]], ...]:
    heads: dict[int, set[int]] = {}
    for prefix in prefixes:
        if prefix.size == size:
            heads.setdefault(size * 8 - prefix.bits, set()).add(prefix.head)
    return tuple((shift, frozenset(found)) for shift, found in sorted(heads.items()))


# Addresses not routed in the internet: this host, the networks around it, and groups of hosts.
PRIVATE = PrefixSet(
    tuple(
        map(
            Prefix.parse,
            (
                "0.0.0.0/8",  # RFC 1122 3.2.1.3
                "10.0.0.0/8",  # RFC 1918
                "100.64.0.0/10",  # RFC 6598
                "127.0.0.0/8",
                "169.254.0.0/16",  # RFC 3927
                "172.16.0.0/12",
                "192.168.0.0/16",
                "224.0.0.0/4",  # RFC 5771
                "255.255.255.255/32",
                "::/127",  # RFC 4291 2.5.2, 2.5.3
                "fc00::/7",  # RFC 4193
                "fe80::/10",
                "ff00::/8",
            ),
        )
    )
)
