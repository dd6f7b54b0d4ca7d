"""Conditions on what a flow's first bytes tell: the protocol, and the name asked for inside."""

from __future__ import annotations

from dataclasses import dataclass, replace

from byway.flow import Flow, Target
from byway.rules.matchers import Answer, Matcher
from byway.rules.verdicts import Fact, Facts


@dataclass(frozen=True, slots=True)
class SniffedProtocol:
    """The first bytes are of one of these protocols."""

    names: frozenset[str]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        sniffed = facts.sniffed
        return Fact.SNIFFED if sniffed is None else sniffed.protocol in self.names


@dataclass(frozen=True, slots=True)
class SniffedName:
    """The name that was sniffed meets a condition on names; no name meets none."""

    of: Matcher

    def match(self, flow: Flow, facts: Facts) -> Answer:
        if facts.sniffed is None:
            return Fact.SNIFFED
        if not facts.sniffed.name:
            return False
        return self.of.match(*as_target(flow, facts))


def as_target(flow: Flow, facts: Facts) -> tuple[Flow, Facts]:
    """The flow as if the name that was sniffed were its target. It is never resolved."""
    name = facts.sniffed.name if facts.sniffed is not None else ""
    return flow.toward(Target(name, flow.target.port)), replace(facts, addresses=())
