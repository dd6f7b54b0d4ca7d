"""Runs of rules that ask for one thing alone, as one look-up: a long list costs what one rule does.

The earliest rule of a run that matches still decides.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from byway.flow import Flow
from byway.rules.matchers import Address, Answer, Domain, DomainSuffix, Matcher, Port
from byway.rules.verdicts import Fact, Facts, Verdict

FEWEST = 2  # shorter runs are as fast rule by rule
FEWEST_PORTS = 8  # a table of ports has 65,536 places


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition and what it leads to. A rule that is switched off is passed over."""

    condition: Matcher
    verdict: Verdict
    enabled: bool = True


Step = Callable[[Flow, Facts], "Answer | Verdict"]


def steps(rules: Sequence[Rule]) -> Iterator[tuple[Step, Verdict]]:
    """One step per rule, or per run of rules; a step that says True means the verdict beside it."""
    for table, group in groupby(rules, _table_for):
        run = list(group)
        fewest = FEWEST_PORTS if table is _PortTable else FEWEST
        if table is not None and len(run) >= fewest:
            yield table(run).decide, run[0].verdict
        else:
            yield from ((rule.condition.match, rule.verdict) for rule in run)


class _NameTable:
    """Rules about the target's name: one look-up per label."""

    def __init__(self, run: Sequence[Rule]) -> None:
        self._exact: dict[str, int] = {}
        self._suffix: dict[str, int] = {}
        self._verdicts = [rule.verdict for rule in run]
        for at, rule in enumerate(run):
            table = self._exact if isinstance(rule.condition, Domain) else self._suffix
            if isinstance(rule.condition, Domain | DomainSuffix):
                for name in rule.condition.names:
                    table.setdefault(name, at)

    def decide(self, flow: Flow, facts: Facts) -> Answer | Verdict:
        target = flow.target
        if target.packed is not None:
            return False
        name, suffix = target.host, self._suffix
        none = len(self._verdicts)
        first = self._exact.get(name, none)
        while name:
            first = min(first, suffix.get(name, none))
            name = name.partition(".")[2]
        return False if first == none else self._verdicts[first]


class _AddressTable:
    """Rules about the target's address: one look-up per length of a prefix that is in use."""

    def __init__(self, run: Sequence[Rule]) -> None:
        self._verdicts = [rule.verdict for rule in run]
        heads: dict[tuple[int, int], dict[int, int]] = {}
        for at, rule in enumerate(run):
            if isinstance(rule.condition, Address):
                for prefix in rule.condition.prefixes.prefixes:
                    table = heads.setdefault((prefix.size, prefix.bits), {})
                    table.setdefault(prefix.head, at)
        self._by_size = {
            size: [(size * 8 - bits, table) for (of, bits), table in heads.items() if of == size]
            for size in (4, 16)
        }

    def decide(self, flow: Flow, facts: Facts) -> Answer | Verdict:
        packed = flow.target.packed
        if packed is not None:
            first = self._first(packed)
        elif facts.addresses is None:
            return Fact.ADDRESS
        else:
            none = len(self._verdicts)
            first = min(map(self._first, facts.addresses), default=none)
        return False if first == len(self._verdicts) else self._verdicts[first]

    def _first(self, packed: bytes) -> int:
        number, first = int.from_bytes(packed), len(self._verdicts)
        for shift, table in self._by_size[len(packed)]:
            first = min(first, table.get(number >> shift, first))
        return first


class _PortTable:
    """Rules about the target's port: one look-up."""

    def __init__(self, run: Sequence[Rule]) -> None:
        self._verdicts = [rule.verdict for rule in run]
        self._first = array("l", [len(run)]) * 65536
        for at in range(len(run) - 1, -1, -1):
            condition = run[at].condition
            for first, last in condition.ranges if isinstance(condition, Port) else ():
                self._first[first : last + 1] = array("l", [at]) * (last - first + 1)

    def decide(self, flow: Flow, facts: Facts) -> Answer | Verdict:
        first = self._first[flow.target.port]
        return False if first == len(self._verdicts) else self._verdicts[first]


_Table = type[_NameTable] | type[_AddressTable] | type[_PortTable]


def _table_for(rule: Rule) -> _Table | None:
    """The table that a run of such rules can become."""
    match rule.condition:
        case Domain() | DomainSuffix():
            return _NameTable
        case Address(resolves=True):
            return _AddressTable
        case Port():
            return _PortTable
    return None
