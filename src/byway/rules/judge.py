"""The judge: rules in order, the first that matches decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from byway.flow import Flow
from byway.rules.explain import Explanation, Outcome, Tried, checks_of, function_check
from byway.rules.tables import Rule, Table
from byway.rules.verdicts import (
    NO_FACTS,
    Drop,
    Fact,
    Facts,
    Lacks,
    Reject,
    RuleRef,
    Verdict,
    Via,
)

DEFAULT = Via("direct", RuleRef("", 0, "no rules: everything direct"))


class Judge:
    """Decides flows by rules; `otherwise` decides those that no rule matches."""

    __slots__ = ("_default", "_otherwise", "_table", "rules")

    def __init__(self, rules: Sequence[Rule] = (), otherwise: Verdict = DEFAULT) -> None:
        self.rules = tuple(rules)
        self._default = self._otherwise = otherwise
        reached = [rule for rule in self.rules if rule.enabled]
        for at, rule in enumerate(reached):
            if rule.takes_all:
                reached, self._otherwise = reached[:at], rule.verdict
                break
        self._table = Table(reached)

    def decide(self, flow: Flow, facts: Facts = NO_FACTS) -> Verdict | Lacks:
        """The verdict of the first rule that matches.

        `Lacks(fact)` when a rule that is reached cannot tell without it: fetch the fact, put it
        into `facts` and ask again (an unresolvable name has `addresses=()`, not None). Pure: the
        same flow and facts give the same answer.
        """
        found = self._table.decide(flow, facts)
        if found is None:
            return self._otherwise
        return Lacks(found) if isinstance(found, Fact) else found

    def explain(self, flow: Flow, facts: Facts = NO_FACTS) -> Explanation:
        """What `decide` says of the same flow and facts, and how it came to that."""
        tried: list[Tried] = []
        by_name = flow.target.packed is None
        for rule in self.rules:
            if not rule.enabled:
                tried.append(Tried(rule.verdict.rule, Outcome.OFF, (), rule.verdict))
                continue
            one, said = _tried(rule, flow, facts)
            tried.append(one)
            if by_name and facts.addresses is not None and not facts.open:
                unasked = replace(facts, addresses=None)
                facts = replace(facts, open=rule.consult(flow, unasked) is Fact.ADDRESS)
            if said is not None:
                return Explanation(tuple(tried), said)
        tried.append(Tried(self._otherwise.rule, Outcome.MATCHED, (), self._otherwise))
        return Explanation(tuple(tried), self._otherwise)

    def without(self, switched_off: Collection[int]) -> Judge:
        """The same judge with these of its rules (counted from 0) disabled as well."""
        rules = [
            replace(rule, enabled=rule.enabled and at not in switched_off)
            for at, rule in enumerate(self.rules)
        ]
        return Judge(rules, self._default)


def _tried(rule: Rule, flow: Flow, facts: Facts) -> tuple[Tried, Verdict | Lacks | None]:
    """The trial of one rule, and what it ended with; None: the next rule is to be tried."""
    checks, function = checks_of(rule.condition, flow, facts), rule.function
    answer = rule.consult(flow, facts)
    if function is not None and not any(check.answer is not True for check in checks):
        checks = (*checks, function_check(function, facts))
    said: Verdict | Lacks | None
    match answer:
        case bool():
            said = rule.verdict if answer else None
        case Fact():
            said = Lacks(answer)
        case _:
            said = answer
    verdict = said if isinstance(said, Via | Reject | Drop) else None
    outcome = Outcome.NO_MATCH if said is None else Outcome.MATCHED
    if isinstance(said, Lacks):
        outcome = Outcome.LACKS
    shown = verdict if function is not None else rule.verdict
    return Tried(rule.verdict.rule, outcome, checks, shown), said
