"""Conditions on what was sniffed, against the same conditions on a target's name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.config import judge_of, load_text
from byway.errors import ConfigError
from byway.flow import PROTOCOLS, Flow, Network, Sniffed, Target
from byway.rules import Fact, Facts, Judge, Lacks

HEAD = """\
sets:
  ads: {type: inline, items: [ads.example, keyword:track, 192.0.2.0/24]}
rules:
"""
names = st.sampled_from(["a.example", "b.a.example", "ads.example", "x.track.org", "org"])
conditions = st.sampled_from(
    [
        "domain: [a.example, org]",
        "domain_suffix: a.example",
        "domain_keyword: a",
        "domain_wildcard: '*.a.*'",
        "domain_regex: '^[ab]'",
        "set: ads",
    ]
)
targets = st.sampled_from(["192.0.2.1", "10.0.0.1", "2001:db8::1", "ads.example"])


def judge(condition: str) -> Judge:
    return judge_of(load_text(f"{HEAD}  - {{{condition}, to: reject}}\n  - otherwise: direct\n"))


def flow(host: str) -> Flow:
    return Flow(1, Network.TCP, "mixed", None, Target.of(host, 443))


@given(conditions, targets, names)
def test_a_sniffed_name_is_judged_as_a_targets_name(condition: str, host: str, name: str) -> None:
    plain, sniffed = judge(condition), judge(f"sniffed: {{{condition}}}")
    facts = Facts(addresses=(), sniffed=Sniffed("tls", name))
    expected = type(plain.decide(flow(name), facts))

    assert sniffed.decide(flow(host)) == Lacks(Fact.SNIFFED)
    assert type(sniffed.decide(flow(host), facts)) is expected
    (check,) = sniffed.explain(flow(host), facts).tried[0].checks
    assert check.condition == f"sniffed {condition.partition(':')[0]}"
    assert bool(check.found) == (check.answer is True)
    assert check.asked


@given(st.sampled_from(["", *PROTOCOLS]), st.sets(st.sampled_from(PROTOCOLS), min_size=1))
def test_a_sniffed_protocol_is_one_of_those(heard: str, asked: set[str]) -> None:
    j = judge(f"sniffed: {{protocol: [{', '.join(asked)}]}}")
    decided = j.decide(flow("a.example"), Facts(sniffed=Sniffed(heard)))

    assert (decided == j.rules[0].verdict) is (heard in asked)
    (check,) = j.explain(flow("a.example"), Facts(sniffed=Sniffed(heard))).tried[0].checks
    assert check.answer is (heard in asked)


@given(targets)
def test_without_a_name_no_name_matches(host: str) -> None:
    j = judge("sniffed: {protocol: tls, domain_keyword: e}")

    assert j.decide(flow(host), Facts(sniffed=Sniffed("tls"))) == j.rules[1].verdict
    assert j.decide(flow(host), Facts(sniffed=Sniffed())) == j.rules[1].verdict


def test_what_is_known_without_listening_comes_first() -> None:
    j = judge("sniffed: {protocol: tls}, ip: 10.0.0.0/8")

    assert j.decide(flow("a.example")) == Lacks(Fact.ADDRESS)
    assert j.decide(flow("192.0.2.1")) == j.rules[1].verdict
    assert j.decide(flow("10.0.0.1")) == Lacks(Fact.SNIFFED)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("sniffed: {}", "rules[0].sniffed: it has no condition"),
        ("sniffed: {set: x}", "rules[0].sniffed.set: there is no set 'x'"),
        ("sniffed: {protocol: tsl}", "rules[0].sniffed.protocol: unknown protocol 'tsl'"),
        ("sniffed: {domain_sufix: a}", "rules[0].sniffed.domain_sufix: unknown key"),
        ("sniffed: tls", "rules[0].sniffed: expected a mapping"),
        ("or: [{sniffed: {}}]", "rules[0].or[0].sniffed: it has no condition"),
    ],
)
def test_a_mistake_is_told(condition: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        judge(condition)
    assert message in str(caught.value)
