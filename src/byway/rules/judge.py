"""The judge: rules in order, the first that matches decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from byway.flow import Flow
from byway.rules.tables import Rule, Table
from byway.rules.verdicts import (
    NO_FACTS,
    Fact,
    Facts,
    Lacks,
    RuleRef,
    Verdict,
    Via,
)

if TYPE_CHECKING:
    from byway.rules.explain import Explanation

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
        """The answer of `decide` for the same flow and facts, with each rule that was tried."""
        from byway.rules.explain import explanation

        return explanation(self.rules, self._otherwise, flow, facts)

    def without(self, switched_off: Collection[int]) -> Judge:
        """The same judge with these of its rules (counted from 0) disabled as well."""
        rules = [
            replace(rule, enabled=rule.enabled and at not in switched_off)
            for at, rule in enumerate(self.rules)
        ]
        return Judge(rules, self._default)
