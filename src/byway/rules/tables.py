"""All rules of a judge as one look-up: the cost of a flow hardly grows with their number.

Rules that ask for one plain thing (a name, a part of one, an address, a port) stand in tables that
tell the first of them that takes a flow. What else there is (sets, combinations, facts) is asked
in its turn, and only while its turn comes before that.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from byway.flow import Flow
from byway.rules.matchers import ALWAYS, Address, Answer, Domain, DomainSuffix, Matcher, Port
from byway.rules.names import Keyword
from byway.rules.verdicts import (
    Drop,
    Fact,
    Facts,
    Function,
    Lacks,
    Reject,
    Verdict,
    Via,
)
from byway.values.prefix import Prefix

FEWEST = 4  # fewer rules of a kind are asked one by one as fast
GRAM = 3  # letters of a word by which it is found


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition and what it leads to. A rule that is disabled is passed over.

    With a `function` the verdict is what that says, if anything; `verdict` then tells only where
    the rule stands.
    """

    condition: Matcher
    verdict: Verdict
    enabled: bool = True
    function: Function | None = None

    @property
    def takes_all(self) -> bool:
        """Whether no flow passes it."""
        return self.condition == ALWAYS and self.function is None

    def consult(self, flow: Flow, facts: Facts) -> Answer | Verdict | Lacks:
        """The function's answer, once the condition holds and its needs are known."""
        function = self.function
        answer = self.condition.match(flow, facts)
        if answer is not True or function is None:
            return answer
        lacking = next((need for need in function.needs if not facts.knows(need)), None)
        if lacking is not None:
            return lacking
        said = facts.said(function)
        if said is None:
            return Lacks(Fact.ANSWER, function)
        ref = self.verdict.rule
        match said.way:
            case None:
                return False
            case "reject":
                return Reject(ref)
            case "drop":
                return Drop(ref)
            case outbound:
                return Via(outbound, ref)


class Table:
    """Rules in order: `decide` gives the verdict of the first that matches."""

    __slots__ = ("_addresses", "_asks", "_names", "_none", "_others", "_ports", "_rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._none = none = len(self._rules)
        kinds: dict[type[object], list[int]] = {}
        for at, rule in enumerate(self._rules):
            kinds.setdefault(_kind(rule), []).append(at)
        others = kinds.pop(object, [])
        for kind in [kind for kind, found in kinds.items() if len(found) < FEWEST]:
            others += kinds.pop(kind)
        self._others = [(at, self._asking(at)) for at in sorted(others)]
        self._names = _Names(self._of(kinds.get(Domain, ())), none)
        self._ports = _Ports(self._of(kinds.get(Port, ())), none)
        addresses = kinds.get(Address, ())
        self._addresses = _Prefixes(self._of(addresses), none)
        self._asks = next((at for at in addresses if self._resolves(at)), none)

    def decide(self, flow: Flow, facts: Facts) -> Verdict | Fact | Lacks | None:
        """The verdict, or the fact that a rule asks for which is reached; None: no rule matches.

        Addresses that are known are handed out as if they were looked up now: from the rule on that
        asks for them.
        """
        target = flow.target
        first, asks, later = self._ports.first(target.port), self._none, facts
        if target.packed is not None:
            first = min(first, self._addresses.first(target.packed))
        else:
            first = min(first, self._names.first(target.host))
            if facts.open:
                first = self._by_address(facts, first, 0)
            else:
                asks = self._asks
                if facts.addresses is not None:
                    facts = replace(facts, addresses=None)
        for at, match in self._others:
            if at > asks:
                # Rules before this one want to know the addresses of the name.
                if asks >= first:
                    break
                if later.addresses is None:
                    return Fact.ADDRESS
                first, asks = self._by_address(later, first, asks), self._none
                facts = later = replace(later, open=True)
            if at >= first:
                break
            answer = match(flow, facts)
            if answer is Fact.ADDRESS and later.addresses is not None:
                answer = match(flow, later)
                first, asks = self._by_address(later, first, at), self._none
                facts = later = replace(later, open=True)
            if answer is False:
                continue
            return self._rules[at].verdict if answer is True else answer
        if asks < first:
            if later.addresses is None:
                return Fact.ADDRESS
            first = self._by_address(later, first, asks)
        return None if first == self._none else self._rules[first].verdict

    def _by_address(self, facts: Facts, first: int, start: int) -> int:
        """The first rule from `start` on that takes an address of the name, if before `first`."""
        found = [self._addresses.first(packed, start) for packed in facts.addresses or ()]
        return min((first, *found))

    def _asking(self, at: int) -> Callable[[Flow, Facts], Answer | Verdict | Lacks]:
        rule = self._rules[at]
        return rule.condition.match if rule.function is None else rule.consult

    def _of(self, places: Iterable[int]) -> list[tuple[int, Matcher]]:
        return [(at, self._rules[at].condition) for at in places]

    def _resolves(self, at: int) -> bool:
        condition = self._rules[at].condition
        return isinstance(condition, Address) and condition.resolves


class _Names:
    """Rules about the target's name: a look-up for each label, and for each place in the name."""

    __slots__ = ("_exact", "_none", "_suffix", "_words")

    def __init__(self, rules: Sequence[tuple[int, Matcher]], none: int) -> None:
        self._none = none
        self._exact: dict[str, int] = {}
        self._suffix: dict[str, int] = {}
        # by how many letters (at most GRAM), then by a word's first so many: the words
        self._words: dict[int, dict[str, list[tuple[int, str]]]] = {}
        for at, condition in rules:
            if isinstance(condition, Keyword):
                for word in condition.words:
                    size = min(GRAM, len(word))
                    self._words.setdefault(size, {}).setdefault(word[:size], []).append((at, word))
            elif isinstance(condition, Domain | DomainSuffix):
                table = self._exact if isinstance(condition, Domain) else self._suffix
                for name in condition.names:
                    table.setdefault(name, at)

    def first(self, host: str) -> int:
        """The first rule that takes this name."""
        none, suffix, name = self._none, self._suffix, host
        first = self._exact.get(name, none)
        while suffix and name:
            if (found := suffix.get(name, none)) < first:
                first = found
            name = name.partition(".")[2]
        for size, words in self._words.items():
            for place in range(len(host) - size + 1):
                for at, word in words.get(host[place : place + size], ()):
                    if at < first and host.startswith(word, place):
                        first = at
        return first


class _Prefixes:
    """Rules about an address: one look-up for each length of a prefix that is in use."""

    __slots__ = ("_by_size", "_none")

    def __init__(self, rules: Sequence[tuple[int, Matcher]], none: int) -> None:
        self._none = none
        heads: dict[tuple[int, int], dict[int, list[int]]] = {}
        for at, condition in rules:
            prefixes: Iterable[Prefix] = ()
            if isinstance(condition, Address):
                prefixes = condition.prefixes.prefixes
            for prefix in prefixes:
                table = heads.setdefault((prefix.size, prefix.bits), {})
                table.setdefault(prefix.head, []).append(at)
        self._by_size = {
            size: [(size * 8 - bits, table) for (of, bits), table in heads.items() if of == size]
            for size in (4, 16)
        }

    def first(self, packed: bytes, start: int = 0) -> int:
        """The first rule from `start` on that takes this address."""
        number, first = int.from_bytes(packed), self._none
        for shift, table in self._by_size[len(packed)]:
            if (places := table.get(number >> shift)) is not None:
                found = places[0]
                if found < start:
                    at = bisect_left(places, start)
                    found = places[at] if at < len(places) else first
                first = min(first, found)
        return first


class _Ports:
    """Rules about the target's port: where the first rule changes, and to which."""

    __slots__ = ("_firsts", "_starts")

    def __init__(self, rules: Sequence[tuple[int, Matcher]], none: int) -> None:
        painted = array("l", [none]) * (65536 if rules else 1)
        for at, condition in reversed(rules):
            for first, last in condition.ranges if isinstance(condition, Port) else ():
                painted[first : last + 1] = array("l", [at]) * (last - first + 1)
        starts = [at for at in range(len(painted)) if at == 0 or painted[at] != painted[at - 1]]
        self._starts = array("l", starts)
        self._firsts = array("l", [painted[at] for at in starts])

    def first(self, port: int) -> int:
        """The first rule that takes this port."""
        return self._firsts[bisect_right(self._starts, port) - 1]


def _kind(rule: Rule) -> type[object]:
    """Which table a rule can stand in; `object`: in none."""
    match rule.condition if rule.function is None else None:
        case Domain() | DomainSuffix() | Keyword():
            return Domain
        case Address():
            return Address
        case Port():
            return Port
    return object
