"""The judge: the first rule that matches decides, and it names the fact it lacks."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.config import default, judge_of, load_text
from byway.flow import Flow, Network, Target
from byway.rules import (
    DEFAULT,
    NO_FACTS,
    Drop,
    Fact,
    Facts,
    Judge,
    Lacks,
    Prefix,
    Reject,
    Rule,
    RuleRef,
    Verdict,
    Via,
)
from byway.rules.matchers import (
    ALWAYS,
    Address,
    All,
    Domain,
    DomainSuffix,
    Matcher,
    Not,
    OnNetwork,
    Port,
    PrefixSet,
    Unresolved,
    Version,
)
from byway.rules.names import Keyword


def flow(target: str = "www.example.com:443", source: str = "127.0.0.1:5", **more: object) -> Flow:
    facts: dict[str, object] = {"network": Network.TCP, "inbound": "mixed", "user": None, **more}
    return Flow(
        id=1,
        source=Target.parse(source),
        target=Target.parse(target),
        **facts,  # type: ignore[arg-type]
    )


def judge(rules: str) -> Judge:
    return judge_of(
        load_text(
            "inbounds: {home: {type: mixed, listen: unix:/x, users: {name: ann, password: p}}}\n"
            "outbounds: {up: {type: socks, server: 'h:1'}}\n"
            f"rules:\n{rules}\n  - otherwise: direct\n",
            "x.yaml",
        )
    )


def said(answer: Via | Reject | Drop | Lacks) -> tuple[str, int]:
    """The kind of an answer, or its outbound, and the line that gave it."""
    if isinstance(answer, Lacks):
        return answer.fact.value, 0
    kind = answer.outbound if isinstance(answer, Via) else type(answer).__name__
    return kind, answer.rule.line


def test_without_rules_everything_goes_direct() -> None:
    assert Judge().decide(flow()) is DEFAULT
    assert judge_of(default()).decide(flow()) is DEFAULT


def test_the_first_rule_that_matches_decides() -> None:
    j = judge(
        "  - {domain: www.example.com, port: 80, to: reject}\n"
        "  - {domain_suffix: example.com, to: up}\n"
        "  - {domain: www.example.com, to: drop}"
    )

    assert said(j.decide(flow("www.example.com:80"))) == ("Reject", 4)
    assert said(j.decide(flow("www.example.com:443"))) == ("up", 5)
    assert said(j.decide(flow("example.org:443"))) == ("direct", 7)


def test_every_condition_of_a_rule_must_hold() -> None:
    j = judge(
        "  - {network: udp, inbound: home, user: ann, source: 10.0.0.0/8, port: 53, to: drop}"
    )
    whole = flow("h:53", "10.1.2.3:9", network=Network.UDP, inbound="home", user="ann")

    assert said(j.decide(whole)) == ("Drop", 4)
    for other in (
        flow("h:54", "10.1.2.3:9", network=Network.UDP, inbound="home", user="ann"),
        flow("h:53", "11.1.2.3:9", network=Network.UDP, inbound="home", user="ann"),
        flow("h:53", "10.1.2.3:9", network=Network.TCP, inbound="home", user="ann"),
        flow("h:53", "10.1.2.3:9", network=Network.UDP, inbound="mixed", user="ann"),
        flow("h:53", "10.1.2.3:9", network=Network.UDP, inbound="home", user="bob"),
        flow("h:53", "10.1.2.3:9", network=Network.UDP, inbound="home"),
    ):
        assert said(j.decide(other)) == ("direct", 5)


def test_a_name_lacks_its_address_only_when_the_rule_is_reached() -> None:
    j = judge(
        "  - {domain: a.example, to: up}\n"
        "  - {ip: 10.0.0.0/8, port: 443, to: reject}\n"
        "  - {ip: 'fd00::/8', to: drop}"
    )

    assert said(j.decide(flow("a.example:443"))) == ("up", 4)
    assert j.decide(flow("b.example:443")) == Lacks(Fact.ADDRESS)
    assert said(j.decide(flow("10.1.1.1:443"))) == ("Reject", 5)
    assert said(j.decide(flow("[fd00::1]:443"))) == ("Drop", 6)
    assert said(j.decide(flow("192.0.2.1:443"))) == ("direct", 7)
    known = Facts(addresses=(bytes([192, 0, 2, 1]), bytes([10, 0, 0, 1])))
    assert said(j.decide(flow("b.example:443"), known)) == ("Reject", 5)
    assert said(j.decide(flow("b.example:443"), Facts(addresses=()))) == ("direct", 7)


def test_a_condition_that_fails_spares_the_question() -> None:
    j = judge("  - {ip: 10.0.0.0/8, port: 80, to: reject}\n  - {source: 10.0.0.0/8, to: drop}")

    assert said(j.decide(flow("b.example:443"))) == ("direct", 6)


def test_a_flow_from_a_unix_socket_has_no_source() -> None:
    j = judge("  - {source: [0.0.0.0/0, '::/0'], to: reject}")
    nobody = Flow(1, Network.TCP, "home", None, Target.parse("h:1"))

    assert said(j.decide(nobody)) == ("direct", 5)


def test_nothing_behind_a_rule_that_always_holds_is_tried() -> None:
    ref = RuleRef("", 0, "")
    first = Rule(Domain(frozenset({"a.b"})), Drop(ref))
    last = Rule(Address(PrefixSet((Prefix.parse("::/0"),))), Drop(ref))

    j = Judge([first, Rule(ALWAYS, Reject(ref)), last])

    assert j.decide(flow()) == Reject(ref)
    assert len(j.rules) == 3


def test_a_decision_costs_microseconds() -> None:
    j = judge(
        "  - {domain: www.example.org, to: up}\n"
        "  - {domain_suffix: [example.org, example.net], to: up}\n"
        "  - {port: 25, to: reject}"
    )
    f = flow()

    began = time.process_time()
    for _ in range(10_000):
        j.decide(f)
    each = (time.process_time() - began) / 10_000

    assert each < 50e-6  # measured: 1


HERE = PrefixSet((Prefix.parse("10.0.0.0/8"),))
names = st.lists(st.sampled_from(["a", "b", "com"]), min_size=1, max_size=4).map(".".join)
conditions: st.SearchStrategy[Matcher] = st.one_of(
    st.frozensets(names, min_size=1, max_size=3).map(Domain),
    st.frozensets(names, min_size=1, max_size=3).map(DomainSuffix),
    st.sampled_from([Port(((80, 80),)), Port(((1, 79), (81, 90))), Port(((0, 65535),))]),
    st.sampled_from(["10.0.0.0/8", "10.0.0.1", "0.0.0.0/0", "::/0", "fd00::/8"]).map(
        lambda text: Address(PrefixSet((Prefix.parse(text), Prefix.parse("10.0.0.2"))))
    ),
    st.lists(st.sampled_from(["a", "b.", "a.b", "com", "xcom"]), min_size=1, max_size=2).map(
        lambda words: Keyword(tuple(words))
    ),
    st.sampled_from([Address(HERE, resolves=False), OnNetwork((Network.UDP,)), Version(4)]),
    st.sampled_from(
        [Not(Address(HERE, resolves=False)), Unresolved(Version(4)), Version(4, False)]
    ),
    st.sampled_from([Not(Port(((80, 80),))), All((Port(((81, 81),)), Address(HERE)))]),
    st.just(ALWAYS),
)


runs: list[Matcher] = [
    Port(((80, 80),)),
    Address(PrefixSet((Prefix.parse("10.0.0.1"),))),
    Domain(frozenset("a")),
    Keyword(("a",)),
]


def runs_of(one: Matcher) -> st.SearchStrategy[list[Matcher]]:
    """Rules of one kind, long enough to become a table."""
    alike = conditions.filter(lambda other: type(other) is type(one))
    return st.lists(alike, min_size=2, max_size=12)


def slowly(rules: list[Rule], f: Flow, facts: Facts) -> Verdict | Lacks:
    """The reference: one rule after the other. The first that asks for addresses gets them, and
    those behind it see them, too."""
    later, facts = facts, facts if facts.open else replace(facts, addresses=None)
    for rule in rules:
        answer = rule.condition.match(f, facts)
        if answer is Fact.ADDRESS and later.addresses is not None:
            answer = rule.condition.match(f, later)
            facts = replace(later, open=True)
        if isinstance(answer, Fact):
            return Lacks(answer)
        if answer:
            return rule.verdict
    return DEFAULT


@given(
    st.lists(
        st.lists(conditions, max_size=8) | st.sampled_from(runs).flatmap(runs_of), max_size=3
    ).map(lambda parts: [one for part in parts for one in part]),
    st.builds("{}:{}".format, names | st.just("10.0.0.1"), st.sampled_from([80, 81, 443])),
    st.sampled_from(
        [
            *(Facts(), Facts(()), Facts((bytes([10, 0, 0, 1]),)), Facts((bytes(16), bytes(4)))),
            *(Facts((bytes([10, 0, 0, 1]),), open=True), Facts((), open=True)),
        ]
    ),
)
def test_the_judge_says_what_one_rule_after_the_other_says(
    some: list[Matcher], target: str, facts: Facts
) -> None:
    rules = [Rule(one, Drop(RuleRef("", at, ""))) for at, one in enumerate(some)]

    assert Judge(rules).decide(flow(target), facts) == slowly(rules, flow(target), facts)


HERE_ADDRESS = (bytes([10, 0, 0, 1]),)
UNRESOLVED = "  - {ip: 10.0.0.0/8, resolve: false, to: up}\n"
ASKING = "  - {ip: 192.0.2.0/24, to: reject}\n"


@pytest.mark.parametrize(
    ("rules", "facts", "expected"),
    [
        (UNRESOLVED, Facts(), "direct"),
        (UNRESOLVED, Facts(HERE_ADDRESS), "direct"),
        (UNRESOLVED + ASKING, Facts(), "address"),
        (UNRESOLVED + ASKING, Facts(HERE_ADDRESS), "direct"),
        (ASKING + UNRESOLVED, Facts(HERE_ADDRESS), "up"),
        (ASKING + UNRESOLVED, Facts(()), "direct"),
        (ASKING.replace("{", "{network: udp, ") + UNRESOLVED, Facts(), "direct"),
        (UNRESOLVED, Facts(HERE_ADDRESS, open=True), "up"),
        ("  - {not: {ip: 10.0.0.0/8}, resolve: false, to: up}\n", Facts(), "up"),
        (
            "  - {or: [{ip_version: 4}, {private: true}], resolve: false, to: up}\n",
            Facts(),
            "direct",
        ),
        ("  - {or: [{ip: 10.0.0.0/8, resolve: false}, {port: 443}], to: up}\n", Facts(), "up"),
        (
            "  - {and: [{ip: 10.0.0.0/8, resolve: true}, {port: 443}], resolve: false, to: up}\n",
            Facts(HERE_ADDRESS),
            "up",
        ),
    ],
)
def test_a_name_has_addresses_for_a_rule_without_resolving_once_an_earlier_one_asked(
    rules: str, facts: Facts, expected: str
) -> None:
    assert said(judge(rules.rstrip("\n")).decide(flow(), facts))[0] == expected
    explained = judge(rules.rstrip("\n")).explain(flow(), facts)
    assert said(explained.answer)[0] == expected


def test_a_rule_without_resolving_is_about_addresses_as_any() -> None:
    assert said(judge(UNRESOLVED.rstrip("\n")).decide(flow("10.1.2.3:443")))[0] == "up"


def test_many_rules_without_resolving_see_only_what_rules_before_them_asked_for() -> None:
    """Enough of them to become a table."""
    before = "".join(f"  - {{ip: 10.0.0.{n}, resolve: false, to: up}}\n" for n in range(9))
    after = before.replace("up", "drop")
    j = judge(before + ASKING + after.rstrip("\n"))

    assert said(j.decide(flow(), NO_FACTS)) == ("address", 0)
    assert said(j.decide(flow(), Facts(HERE_ADDRESS)))[0] == "Drop"
    assert said(j.decide(flow("10.0.0.1:1")))[0] == "up"
