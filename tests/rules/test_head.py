"""What is handed to the firewall says of every flow what the judge would say."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from byway.flow import Flow, Network, Process, Target
from byway.rules import Drop, Facts, Judge, Reject, Rule, RuleRef, Verdict, Via
from byway.rules import matchers as m
from byway.rules.head import Head, head_of
from byway.rules.programs import ProcessName, ProcessUser
from byway.rules.sets import Contents, InSet, NameTable, PrefixTable, RuleSet
from byway.system.firewall.clauses import Term
from byway.values.prefix import Prefix

PREFIXES = ("10.0.0.0/8", "10.1.0.0/16", "192.0.2.1/32", "0.0.0.0/0", "fd00::/8", "2001:db8::1/128")
ADDRESSES = (
    "10.1.2.3",
    "10.2.2.3",
    "192.0.2.1",
    "203.0.113.9",
    "fd00::7",
    "2001:db8::1",
    "2001::2",
)
PORTS = ((80, 80), (443, 445), (1, 65535))


def ref(at: int) -> RuleRef:
    return RuleRef("rules.yaml", at + 1, f"rule {at}")


def prefix_set(texts: Sequence[str]) -> m.PrefixSet:
    return m.PrefixSet(tuple(map(Prefix.parse, texts)))


prefixes = st.lists(st.sampled_from(PREFIXES), min_size=1, max_size=3).map(prefix_set)
ranges = st.lists(st.sampled_from(PORTS), min_size=1, max_size=2).map(tuple)
leaves: st.SearchStrategy[m.Matcher] = st.one_of(
    prefixes.map(m.Address),
    prefixes.map(m.Source),
    st.sampled_from((4, 16)).map(m.Version),
    ranges.map(m.Port),
    ranges.map(m.SourcePort),
    st.sampled_from(list(Network)).map(lambda network: m.OnNetwork((network,))),
    st.sampled_from(("lan", "other")).map(lambda name: m.FromInbound(frozenset({name}))),
    st.just(m.OfUser(frozenset({"ann"}))),
    st.sampled_from((0, 1000)).map(lambda uid: ProcessUser(frozenset({uid}))),
    prefixes.map(
        lambda one: InSet(
            (RuleSet("s", "", Contents(literal=PrefixTable((p, 0) for p in one.prefixes))),)
        )
    ),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda of: m.All(tuple(of))),
        st.lists(inner, max_size=3).map(lambda of: m.AnyOf(tuple(of))),
        inner.map(m.Not),
        inner.map(m.Unresolved),
    ),
    max_leaves=6,
)
verdicts = st.sampled_from(("direct", "proxy", "reject", "drop"))


def verdict(word: str, at: int) -> Verdict:
    if word == "reject":
        return Reject(ref(at))
    return Drop(ref(at)) if word == "drop" else Via(word, ref(at))


rules = st.lists(st.tuples(conditions, verdicts, st.booleans()), max_size=5).map(
    lambda found: [
        Rule(condition, verdict(word, at), enabled)
        for at, (condition, word, enabled) in enumerate(found)
    ]
)
flows = st.builds(
    lambda source, target, ports, network: Flow(
        1, network, "lan", Target.of(source, ports[0]), Target.of(target, ports[1])
    ),
    st.sampled_from(ADDRESSES),
    st.sampled_from(ADDRESSES),
    st.tuples(st.sampled_from((80, 444, 5000)), st.sampled_from((80, 444, 5000))),
    st.sampled_from(list(Network)),
)


def obeyed(head: Head, flow: Flow, uid: int | None) -> str | None:
    """What a firewall does that obeys the clauses; None: none of them holds."""
    for clause in head.clauses:
        if all(holds(term, flow, uid) is not term.negated for term in clause.terms):
            return clause.verdict
    return None


def holds(term: Term, flow: Flow, uid: int | None) -> bool:
    assert flow.source is not None
    match term.what:
        case "to" | "from":
            host = flow.target.host if term.what == "to" else flow.source.host
            address = ipaddress.ip_address(host)
            return any(address in ipaddress.ip_network(prefix) for prefix in term.values)
        case "port" | "source_port":
            port = flow.target.port if term.what == "port" else flow.source.port
            spans = [text.partition("-") for text in term.values]
            return any(int(first) <= port <= int(last or first) for first, _, last in spans)
        case "network":
            return flow.network.value in term.values
        case "uid":
            return uid is not None and str(uid) in term.values
    raise AssertionError(term)


@given(rules, flows, st.sampled_from((None, 0, 1000)))
def test_the_firewall_says_what_the_judge_says(
    listed: list[Rule], flow: Flow, uid: int | None
) -> None:
    head = head_of(listed, {"lan"}, {"direct"})
    judged = Judge(listed, Via("proxy", ref(99))).decide(flow, Facts(process=Process(uid=uid)))
    said = obeyed(head, flow, uid)
    if isinstance(judged, Via):
        expected = "direct" if judged.outbound == "direct" else "take"
    else:
        expected = "reject" if isinstance(judged, Reject) else "drop"
    if said is not None:
        assert said == expected
    elif head.stopped is None:
        assert expected == "take"


def test_nothing_behind_a_rule_that_needs_a_name() -> None:
    listed = [
        Rule(m.Port(((22, 22),)), Via("direct", ref(0))),
        Rule(m.DomainSuffix(frozenset({"example.com"})), Via("proxy", ref(1))),
        Rule(m.ALWAYS, Via("direct", ref(2))),
    ]
    head = head_of(listed, {"lan"}, {"direct"})
    assert [one.rule.line for one in head.handed] == [1]
    assert head.stopped == ref(1)
    # A negation needs it as much, a program and a set with names, too.
    names = RuleSet("s", "", Contents(names=NameTable([("example.com", 3, 1)])))
    for needs in (
        m.Not(m.Domain(frozenset({"a.example"}))),
        ProcessName(frozenset({"curl"})),
        InSet((names,)),
        InSet((RuleSet("s", "", Contents(complete=False)),)),
    ):
        assert head_of([Rule(needs, Via("direct", ref(0)))], {"lan"}, {"direct"}).stopped == ref(0)


def test_what_has_limits_comes_here() -> None:
    listed = [Rule(m.Port(((22, 22),)), Via("direct", ref(0))), Rule(m.ALWAYS, Via("set", ref(1)))]
    head = head_of(listed, {"lan"}, {"direct"}, {ref(0)})
    assert [clause.verdict for clause in head.clauses] == ["take", "take"]


def test_alternatives_are_bounded() -> None:
    many = m.AnyOf(tuple(m.Port(((n, n),)) for n in range(1, 10)))
    listed = [Rule(m.All((many, many, many)), Via("direct", ref(0)))]
    assert head_of(listed, {"lan"}, {"direct"}) == Head((), (), ref(0))
