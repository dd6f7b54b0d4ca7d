"""The judge: rules in order, the first that matches decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from byway.flow import Flow
from byway.rules.matchers import ALWAYS, Matcher
from byway.rules.verdicts import NO_FACTS, Facts, Lacks, RuleRef, Verdict, Via

DEFAULT = Via("direct", RuleRef("", 0, "no rules: everything direct"))


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition and what it leads to."""

    condition: Matcher
    verdict: Verdict


class Judge:
    """Decides flows by rules; `otherwise` decides those that no rule matches."""

    __slots__ = ("_otherwise", "_steps", "rules")

    def __init__(self, rules: Sequence[Rule] = (), otherwise: Verdict = DEFAULT) -> None:
        self.rules = tuple(rules)
        self._steps = tuple((rule.condition.match, rule.verdict) for rule in self.rules)
        self._otherwise = otherwise
        for at, rule in enumerate(self.rules):
            if rule.condition == ALWAYS:
                self._steps, self._otherwise = self._steps[:at], rule.verdict
                break

    def decide(self, flow: Flow, facts: Facts = NO_FACTS) -> Verdict | Lacks:
        """The verdict of the first rule that matches.

        `Lacks(fact)` when a rule that is reached cannot tell without it: fetch the fact, put it
        into `facts` and ask again (an unresolvable name has `addresses=()`, not None). Pure: the
        same flow and facts give the same answer.
        """
        for match, verdict in self._steps:
            answer = match(flow, facts)
            if answer is False:
                continue
            return verdict if answer is True else Lacks(answer)
        return self._otherwise
