"""The head of the rules: those that a firewall can obey by itself, before any flow comes here.

The first match decides, and so only rules before the first one that needs a name, the time, a
program or a flow's first bytes can be handed on: behind it nothing is known to be decided. What is
handed on is a rule's condition as alternatives of plain terms (`firewall.clauses`). Pure, on
config time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import product

from byway.flow import frozen
from byway.rules import matchers as m
from byway.rules.devices import SourceMac
from byway.rules.programs import ProcessUser
from byway.rules.sets import InSet, PrefixTable
from byway.rules.tables import Rule
from byway.rules.verdicts import Drop, Reject, RuleRef, Via
from byway.system.firewall.clauses import Clause, Term

MOST_ALTERNATIVES = 64  # of one rule; of more it is cheaper to judge here
MOST_VALUES = 100_000  # prefixes, ports and so on of all rules together

Alternatives = list[tuple[Term, ...]]


@frozen
class Handed:
    """A rule that the firewall obeys, and what it does: direct, reject, drop or take."""

    rule: RuleRef
    verdict: str


@frozen
class Head:
    """The result: the clauses in order, and the rules that they come of. `stopped` is the
    first rule that cannot be, None where all are."""

    clauses: tuple[Clause, ...] = ()
    handed: tuple[Handed, ...] = ()
    stopped: RuleRef | None = None


def head_of(
    rules: Sequence[Rule],
    inbounds: Collection[str],
    direct: Collection[str],
    counted: Collection[RuleRef] = (),
) -> Head:
    """The head for flows of these inbounds. `direct` are outbounds that do nothing but let a flow
    leave; flows of `counted` rules have limits, and must come here."""
    clauses, handed, values = list[Clause](), list[Handed](), 0
    for rule in rules:
        if not rule.enabled:
            continue
        ref = rule.verdict.rule
        found = None if rule.function is not None else _alternatives(rule.condition, inbounds)
        if found is not None:
            values += sum(len(term.values) for terms in found for term in terms)
        if found is None or len(found) > MOST_ALTERNATIVES or values > MOST_VALUES:
            return Head(tuple(clauses), tuple(handed), ref)
        match rule.verdict:
            case Reject():
                verdict = "reject"
            case Drop():
                verdict = "drop"
            case Via(outbound) if outbound in direct and ref not in counted:
                verdict = "direct"
            case _:
                verdict = "take"
        clauses += [Clause(terms, verdict) for terms in found]
        if found:
            handed.append(Handed(ref, verdict))
    return Head(tuple(clauses), tuple(handed))


def _alternatives(
    matcher: m.Matcher, inbounds: Collection[str], wanted: bool = True
) -> Alternatives | None:
    """The alternatives by which a condition holds (or, unless `wanted`, does not); None where only
    Byway can tell."""
    match matcher:
        case m.All(of) | m.AnyOf(of):
            parts = [_alternatives(part, inbounds, wanted) for part in of]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            if isinstance(matcher, m.All) is wanted:
                return _both(known)
            return [terms for part in known for terms in part]
        case m.Not(of):
            return _alternatives(of, inbounds, not wanted)
        case m.Unresolved(of):
            return _alternatives(of, inbounds, wanted)
        case m.FromInbound(names):
            if not names.isdisjoint(inbounds) and not names.issuperset(inbounds):
                return None
            return [()] if names.issuperset(inbounds) is wanted else []
        case m.OfUser():  # there are no logins
            return [] if wanted else [()]
    term = _term(matcher, not wanted)
    return None if term is None else [(term,)]


def _both(parts: Iterable[Alternatives]) -> Alternatives | None:
    """One of each part, in all combinations."""
    found: Alternatives = [()]
    for part in parts:
        if len(found) * len(part) > MOST_ALTERNATIVES:
            return None
        found = [(*one, *other) for one, other in product(found, part)]
    return found


def _term(matcher: m.Matcher, negated: bool) -> Term | None:
    match matcher:
        case m.Address(prefixes):
            return Term("to", tuple(map(str, prefixes.prefixes)), negated)
        case m.Version(size):
            return Term("to", ("0.0.0.0/0" if size == 4 else "::/0",), negated)
        case m.Source(prefixes):
            return Term("from", tuple(map(str, prefixes.prefixes)), negated)
        case m.Port(ranges):
            return Term("port", tuple(map(_range, ranges)), negated)
        case m.SourcePort(ranges):
            return Term("source_port", tuple(map(_range, ranges)), negated)
        case m.OnNetwork(networks):
            return Term("network", tuple(network.value for network in networks), negated)
        case ProcessUser(uids):
            return Term("uid", tuple(map(str, sorted(uids))), negated)
        case SourceMac(macs):
            return Term("mac", tuple(sorted(macs)), negated)
        case InSet(sets):
            found = list[str]()
            for one in sets:
                contents = one.contents
                addresses = contents.addresses, contents.literal
                if len(contents.names) or contents.conditions or not contents.complete:
                    return None
                for table in addresses:
                    if not isinstance(table, PrefixTable):
                        return None
                    found += map(str, table.prefixes)
            return Term("to", tuple(found), negated)
    return None


def _range(ports: tuple[int, int]) -> str:
    first, last = ports
    return str(first) if first == last else f"{first}-{last}"
