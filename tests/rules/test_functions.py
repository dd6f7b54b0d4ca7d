"""Rules whose verdict a function gives, among others: the judge against a slow reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from byway.flow import Flow, Network, Target
from byway.rules import Drop, Fact, Facts, Judge, Lacks, Reject, Rule, RuleRef, Said, Via
from byway.rules.explain import Outcome
from byway.rules.matchers import ALWAYS, Address, Domain, Matcher, Port, PrefixSet
from byway.rules.verdicts import Verdict
from byway.values.prefix import Prefix


@dataclass(frozen=True)
class Asked:
    """A function without a body: what it says is among the facts, or not."""

    name: str
    needs: tuple[Fact, ...]


FUNCTIONS = [
    Asked("plain", ()),
    Asked("timely", (Fact.MOMENT,)),
    Asked("both", (Fact.ADDRESS, Fact.MOMENT)),
]
conditions: st.SearchStrategy[Matcher] = st.one_of(
    st.just(ALWAYS),
    st.sampled_from("abc").map(lambda name: Domain(frozenset({name}))),
    st.integers(1, 3).map(lambda port: Port(((port, port),))),
    st.just(Address(PrefixSet((Prefix.parse("10.0.0.0/8"),)))),
)
rules = st.lists(
    st.tuples(conditions, st.sampled_from([*FUNCTIONS, None, None, None]), st.booleans()),
    max_size=14,
)
saids = st.sampled_from([None, Said(None), Said("up"), Said("reject"), Said("drop")])
flows = st.builds(
    lambda host, port: Flow(1, Network.TCP, "in", None, Target.of(host, port)),
    st.sampled_from(["a", "b", "c", "10.0.0.1", "192.0.2.1"]),
    st.integers(1, 4),
)


def slow(rules: list[Rule], flow: Flow, facts: Facts) -> Verdict | Lacks | None:
    """One rule after the other."""
    for rule in rules:
        answer = rule.condition.match(flow, facts)
        if answer is False or not rule.enabled:
            continue
        if isinstance(answer, Fact):
            return Lacks(answer)
        if rule.function is None:
            return rule.verdict
        for need in rule.function.needs:
            known = facts.addresses if need is Fact.ADDRESS else facts.moment
            if known is None:
                return Lacks(need)
        said = {one.name: word for one, word in facts.answers}.get(rule.function.name)
        if said is None:
            return Lacks(Fact.ANSWER, rule.function)
        if said.way is not None:
            ref = rule.verdict.rule
            ways: dict[str, Verdict] = {"reject": Reject(ref), "drop": Drop(ref)}
            return ways.get(said.way, Via(said.way, ref))
    return None


@settings(max_examples=400)
@given(rules, flows, st.tuples(saids, saids, saids), st.booleans(), st.booleans())
def test_the_judge_asks_functions_in_their_turn(
    drawn: list[tuple[Matcher, Asked | None, bool]],
    flow: Flow,
    said: tuple[Said | None, ...],
    resolved: bool,
    timed: bool,
) -> None:
    made = [
        Rule(condition, Drop(RuleRef("x", at, "")), enabled or function is None, function)
        for at, (condition, function, enabled) in enumerate(drawn, 1)
    ]
    answers = tuple(
        (one, word) for one, word in zip(FUNCTIONS, said, strict=True) if word is not None
    )
    facts = Facts(
        (b"\n\0\0\1",) if resolved else None, datetime(2026, 11, 23) if timed else None,
        None, None, answers,
    )  # fmt: skip
    judge = Judge(made)
    expected = slow(made, flow, facts)

    decided = judge.decide(flow, facts)
    explained = judge.explain(flow, facts)
    assert explained.answer == decided
    if expected is None:
        assert isinstance(decided, Via)
    else:
        assert decided == expected
    outcome = Outcome.LACKS if isinstance(decided, Lacks) else Outcome.MATCHED
    assert explained.tried[-1].outcome is outcome
