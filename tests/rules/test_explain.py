"""What is explained is what is decided, on generated configs and flows; and it says why."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from byway.config import judge_of, load_text
from byway.flow import Flow, Network, Process, Sniffed, Target
from byway.rules import NO_FACTS, Fact, Facts, Judge, Lacks, Via
from byway.rules.explain import Check, Outcome

HEAD = """\
inbounds: {home: {type: mixed, listen: unix:/x, users: {name: ann, password: p}}}
outbounds: {up: {type: socks, server: 'h:1'}}
sets:
  ads: {type: inline, items: [ads.example, keyword:track, 192.0.2.0/24]}
rules:
"""

names = st.sampled_from(["a.example", "b.a.example", "ads.example", "x.track.org", "org"])
leaves = st.one_of(
    names.map("domain: {}".format),
    names.map("domain_suffix: {}".format),
    st.sampled_from(
        [
            "domain_keyword: a",
            "domain_wildcard: '*.a.*'",
            "domain_regex: '^[ab]'",
            "ip: 10.0.0.0/8",
            "ip_version: 6",
            "private: true",
            "private: false",
            "ip: 192.0.2.0/24, resolve: false",
            "set: ads, resolve: false",
            "port: [80, 1000-2000]",
            "network: udp",
            "inbound: home",
            "user: ann",
            "source: 127.0.0.0/8",
            "source_port: 1-10",
            "time: mon-fri 09:00-17:00",
            "set: ads",
            "process: curl",
            "process_path: /usr/bin/",
            "uid: [0, 1000]",
            "cgroup: /user.slice",
            "sniffed: {protocol: tls}",
            "sniffed: {domain_suffix: a.example, protocol: [quic, tls]}",
            "sniffed: {set: ads, domain_keyword: a}",
        ]
    ),
)
groups = st.recursive(
    leaves.map("{{{}}}".format),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda of: f"{{and: [{', '.join(of)}]}}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda of: f"{{or: [{', '.join(of)}]}}"),
        inner.map("{{not: {}}}".format),
    ),
    max_leaves=5,
)
rules = st.builds(
    lambda group, to, off: f"  - {group[:-1]}, to: {to}{', enabled: false' if off else ''}}}\n",
    groups,
    st.sampled_from(["up", "direct", "reject", "drop"]),
    st.booleans(),
)
flows = st.builds(
    Flow,
    st.just(1),
    st.sampled_from(Network),
    st.just("home"),
    st.sampled_from([None, Target.of("127.0.0.1", 5), Target.of("10.0.0.1", 500)]),
    st.builds(
        Target.of,
        names | st.sampled_from(["10.0.0.1", "192.0.2.1", "2001:db8::1"]),
        st.sampled_from([80, 443, 1500]),
    ),
    st.sampled_from([None, "ann"]),
)
known = st.builds(
    Facts,
    st.sampled_from([None, (), (b"\n\0\0\1",), (bytes(16), bytes([192, 0, 2, 1]))]),
    st.sampled_from([None, datetime(2026, 11, 23, 12), datetime(2026, 11, 22, 12)]),
    st.sampled_from([None, Process(), Process("curl", "/usr/bin/curl", 0, "/user.slice/x")]),
    st.sampled_from([None, Sniffed(), Sniffed("tls"), Sniffed("quic", "b.a.example")]),
)


def judge(text: str) -> Judge:
    return judge_of(load_text(f"{HEAD}{text}  - otherwise: direct\n", "x.yaml"))


@settings(max_examples=200)
@given(st.lists(rules, max_size=6).map("".join), flows, known)
def test_what_is_explained_is_what_is_decided(text: str, flow: Flow, facts: Facts) -> None:
    j = judge(text)
    explained = j.explain(flow, facts)

    assert explained.answer == j.decide(flow, facts)
    *before, last = explained.tried
    assert all(one.outcome in (Outcome.NO_MATCH, Outcome.OFF) for one in before)
    assert last.outcome is (
        Outcome.LACKS if isinstance(explained.answer, Lacks) else Outcome.MATCHED
    )
    for tried in explained.tried:
        conclude(tried.checks, tried.outcome)


def conclude(checks: tuple[Check, ...], outcome: Outcome) -> None:
    """The checks of a rule add up to its outcome."""
    answers = [check.answer for check in checks]
    if outcome is Outcome.MATCHED:
        assert all(answer is True for answer in answers)
    elif outcome is Outcome.NO_MATCH:
        assert False in answers
    elif outcome is Outcome.LACKS:
        assert False not in answers
        assert any(isinstance(answer, Fact) for answer in answers)
    for check in checks:
        assert check.condition
        if not check.parts:
            assert check.asked
            assert (check.answer is True) == bool(check.found)


def flow(target: str) -> Flow:
    return Flow(1, Network.TCP, "home", Target.of("127.0.0.1", 5), Target.parse(target))


def test_each_condition_tells_what_it_looked_at_and_what_it_found() -> None:
    j = judge(
        "  - {domain_suffix: b.example, port: 443, to: reject, enabled: false}\n"
        "  - {domain_suffix: [b.example, a.example], port: [22, 80-90], to: drop}\n"
        "  - {not: {set: ads}, to: up}\n"
    )

    off, missed, taken = j.explain(flow("www.a.example:443")).tried

    assert off.outcome is Outcome.OFF
    assert missed.outcome is Outcome.NO_MATCH
    assert missed.rule.line == 7
    assert missed.checks == (
        Check("port", "443", "22, 80-90", False),
        Check("domain_suffix", "www.a.example", "a.example, b.example", True, "a.example"),
    )
    assert taken.outcome is Outcome.LACKS
    (negation,) = taken.checks
    assert negation.parts == (Check("set", "www.a.example:443", "ads", Fact.ADDRESS),)


def test_the_entry_of_a_set_is_told_with_its_line() -> None:
    (tried,) = judge("  - {set: ads, to: up}\n").explain(flow("www.ads.example:80")).tried

    assert tried.checks[0].found == "ads, x.yaml:4: ads.example"


def test_a_name_that_no_rule_resolved_is_told_to_be_one() -> None:
    j = judge("  - {ip: 10.0.0.0/8, resolve: false, to: up}\n")

    (tried, _) = j.explain(flow("a.example:443")).tried

    wanted = "a.example, which no earlier rule has resolved,"
    assert tried.checks == (Check("ip", wanted, "10.0.0.0/8", False),)


def test_rules_can_be_switched_off_while_running() -> None:
    j = judge("  - {port: 80, to: reject}\n  - {port: 80, to: up}\n")

    without = j.without({0})

    assert isinstance(without.decide(flow("h:80"), NO_FACTS), Via)
    assert [one.outcome for one in without.explain(flow("h:80")).tried] == [
        Outcome.OFF,
        Outcome.MATCHED,
    ]
