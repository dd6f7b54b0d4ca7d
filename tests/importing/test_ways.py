"""Nothing goes direct that was to go by a proxy, whatever leads to a proxy that is lost."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byway.importing import LeftOut, import_text
from tests.importing.sources import PROXIES, box, clash, ends, ends_of

KINDS = ("select", "url-test", "fallback", "load-balance")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("members", "by_hand", "alone"),
    [
        ("v, DIRECT", {"reject"}, {"reject"}),
        ("v, w, DIRECT", {"reject"}, {"reject"}),
        ("v, REJECT, DIRECT", {"reject"}, {"reject"}),
        ("v, COMPATIBLE, PASS", {"reject"}, {"reject"}),
        ("v, DIRECT, p", {"p"}, {"p"}),
        ("v, p, DIRECT", {"p"}, {"p"}),
        ("p, v, DIRECT", {"p"}, {"p"}),
        ("nobody, DIRECT", {"reject"}, {"reject"}),
        ("DIRECT", {"direct"}, {"direct"}),
    ],
)
def test_a_group_that_loses_proxies_does_not_go_direct_in_their_place(
    kind: str, members: str, by_hand: set[str], alone: set[str]
) -> None:
    found = clash(
        f"proxy-groups: [{{name: G, type: {kind}, proxies: [{members}]}}]\nrules: ['MATCH,G']\n"
    )

    assert ends_of(found) == (by_hand if kind == "select" else alone)


@pytest.mark.parametrize(
    ("kind", "members", "to"),
    [
        ("select", "DIRECT, v", {"direct"}),
        ("fallback", "DIRECT, v", {"direct"}),
        ("fallback", "DIRECT, v, p, DIRECT", {"direct", "p"}),
        ("url-test", "DIRECT, v", {"reject"}),
        ("load-balance", "DIRECT, v, p", {"p"}),
        ("fallback", "p, DIRECT", {"p", "direct"}),
        ("fallback", "REJECT, p", {"p"}),
        ("url-test", "REJECT, PASS, DIRECT", {"direct"}),
        ("select", "REJECT, p", {"reject"}),
    ],
)
def test_direct_stays_where_the_source_takes_it_first(
    kind: str, members: str, to: set[str]
) -> None:
    found = clash(
        f"proxy-groups: [{{name: G, type: {kind}, proxies: [{members}]}}]\nrules: ['MATCH,G']\n"
    )

    assert ends_of(found) == to


NESTED = [
    "{name: A, type: select, proxies: [B, DIRECT]}",
    "{name: B, type: url-test, proxies: [C, DIRECT]}",
    "{name: C, type: fallback, proxies: [v, D]}",
    "{name: D, type: select, proxies: [DIRECT, w]}",
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_nested_groups_reject_in_every_order(order: tuple[int, ...]) -> None:
    groups = "\n".join(f"- {NESTED[at]}" for at in order)
    found = clash(f"proxy-groups:\n{groups}\nrules: ['DOMAIN,d.example,D', 'MATCH,A']\n")

    assert ends_of(found) == {"reject"}
    assert ends_of(found, "d.example") == {"direct"}
    assert set(found.config.groups) == {"D"}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_group_that_becomes_a_verdict_is_known_to_be_one_in_every_order(
    order: tuple[int, ...],
) -> None:
    groups = [
        "{name: ads, type: select, proxies: [REJECT, DIRECT]}",
        "{name: deep, type: select, proxies: [ads, p]}",
        "{name: both, type: select, proxies: [p, ads, pass]}",
    ]
    text = "\n".join(f"- {groups[at]}" for at in order)
    found = clash(
        f"proxy-groups:\n- {{name: pass, type: select, proxies: [PASS, p]}}\n{text}\n"
        "rules: ['DOMAIN,a.example,deep', 'DOMAIN,b.example,pass', 'DOMAIN,b.example,REJECT',"
        "'MATCH,both']\n"
    )

    assert (ends_of(found, "a.example"), ends_of(found, "b.example")) == ({"reject"}, {"reject"})
    assert ends_of(found) == {"p"}
    assert found.config.groups["both"].members == ("p",)


def test_what_is_not_said_by_a_match_goes_direct_as_there_and_pass_too() -> None:
    assert ends_of(clash("rules: ['DOMAIN,x.example,p']\n")) == {"direct"}
    assert ends_of(clash("rules: ['DOMAIN,x.example,p', 'MATCH,PASS']\n")) == {"direct"}
    assert ends_of(clash("rules: ['MATCH,nobody']\n")) == {"reject"}


@pytest.mark.parametrize(
    ("selector", "to"),
    [
        ({"outbounds": ["v", "direct"]}, {"reject"}),
        ({"outbounds": ["direct", "v"], "default": "v"}, {"reject"}),
        ({"outbounds": ["direct", "v", "p"], "default": "v"}, {"p"}),
        ({"outbounds": ["block", "p"], "default": "p"}, {"p"}),
        ({"outbounds": ["p", "block"], "default": "block"}, {"reject"}),
        ({"outbounds": ["direct", "v"]}, {"direct"}),
        ({"outbounds": ["gone", "direct"]}, {"reject"}),
    ],
)
def test_a_selector_that_loses_its_default_does_not_go_direct(
    selector: dict[str, object], to: set[str]
) -> None:
    found = box({"type": "selector", "tag": "G", **selector}, route={"final": "G"})

    assert ends_of(found) == to


@pytest.mark.parametrize(
    "outbounds",
    [
        [{"type": "urltest", "tag": "G", "outbounds": ["direct", "v"]}],
        [{"type": "socks", "tag": "G", "server": "x", "server_port": 1, "detour": "v"}],
        [{"type": "direct", "tag": "G", "detour": "v"}],
        [
            {"type": "selector", "tag": "G", "outbounds": ["H", "direct"]},
            {"type": "selector", "tag": "H", "outbounds": ["hop"]},
            {"type": "socks", "tag": "hop", "server": "x", "server_port": 1, "detour": "chain"},
            {"type": "selector", "tag": "chain", "outbounds": ["v", "direct"]},
        ],
        [{"type": "selector", "tag": "G", "outbounds": ["wg", "direct"]}],
        [{"type": "direct", "tag": "other"}, {"type": "hysteria2", "tag": "G"}],
    ],
)
def test_chains_and_endpoints_that_are_lost_reject(outbounds: list[dict[str, object]]) -> None:
    found = box(
        *outbounds,
        route={"final": "G"},
        endpoints=[{"type": "wireguard", "tag": "wg"}],
    )

    assert ends_of(found) == {"reject"}


def test_a_missing_final_is_the_first_outbound_also_when_that_is_lost() -> None:
    assert ends_of(box()) == {"reject"}
    assert ends_of(box({"type": "socks", "tag": "s", "server": "x", "server_port": 1})) == {"s"}


@pytest.mark.parametrize(
    "group",
    [
        "{name: G, type: relay, proxies: [p, v]}",
        "{name: G, type: smart, proxies: [p, DIRECT]}",
        "{name: G, type: select, use: [web]}",
        "{name: G, type: url-test, use: [web], proxies: [DIRECT]}",
        "{name: G, type: fallback, include-all: true, filter: v}",
        "{name: G, type: select, include-all: true, filter: nothing}",
        "{name: G, type: url-test, proxies: [DIRECT, p], exclude-filter: '(+'}",
    ],
)
def test_groups_of_providers_and_filters_that_are_lost_reject(group: str) -> None:
    found = clash(
        "proxy-providers: {web: {type: http, url: 'https://x.example/sub', path: gone.yaml}}\n"
        f"proxy-groups: [{group}]\nrules: ['MATCH,G']\n"
    )

    assert ends_of(found) <= {"reject", "p"}
    assert "direct" not in ends_of(found)


def test_proxies_alone_are_all_used() -> None:
    found = clash("")

    assert ends_of(found) == {"p"}
    assert found.config.groups["proxies"].members == ("p", "q")
    assert ends_of(import_text(b"proxies: [{name: a, type: http, server: x, port: 1}]", "x")) == {
        "a"
    }
    lost = b"port: 1\nproxies: [{name: a, type: snell, server: x, port: 1}]"
    assert ends_of(import_text(lost, "x")) == {"reject"}


def test_proxies_and_groups_without_rules_go_by_the_first_group() -> None:
    found = clash("proxy-groups: [{name: G, type: select, proxies: [v, q, p]}]\n")

    assert ends_of(found) == {"q"}
    assert any(note.what == "rules" and "'G'" in note.why for note in found.notes)


def test_rules_that_are_left_out_are_counted_by_where_they_led() -> None:
    found = clash(
        "rules:\n- DSCP,4,p\n- IP-SUFFIX,8.8.8.8/24,p\n- RULE-SET,gone,q\n"
        "- 'OR,((DSCP,4),(DOMAIN,o.example)),p'\n- 'NOT,((OR,((DSCP,4),(DOMAIN,o)))),p'\n"
        "- MATCH,DIRECT\n"
    )

    line = PROXIES.count("\n") + 2
    assert found.left_out == (
        LeftOut(line, "DSCP,4,p", "p"),
        LeftOut(line + 1, "IP-SUFFIX,8.8.8.8/24,p", "p"),
        LeftOut(line + 2, "RULE-SET,gone,q", "q"),
        LeftOut(line + 3, "OR,((DSCP,4),(DOMAIN,o.example)),p", "p", part=True),
        LeftOut(line + 4, "NOT,((OR,((DSCP,4),(DOMAIN,o)))),p", "p"),
    )
    assert (ends_of(found, "o.example"), ends_of(found)) == ({"p"}, {"direct"})


def test_a_rule_keeps_what_is_left_of_its_sets() -> None:
    sets = [
        {"type": "inline", "tag": "mine", "rules": [{"domain": ["m.example"]}]},
        {"type": "ftp", "tag": "bin", "url": "https://x.example/bin.srs"},
    ]
    rules = [
        {"rule_set": ["bin", "mine"], "outbound": "p"},
        {"geosite": ["no list"], "domain": ["g.example"], "outbound": "p"},
        {"geosite": ["no list"], "port": 443, "outbound": "p"},
        {"rule_set": ["bin", "mine"], "invert": True, "outbound": "block"},
        {"type": "logical", "mode": "or", "outbound": "p",
         "rules": [{"wifi_ssid": "x"}, {"domain": ["l.example"]}]},
    ]  # fmt: skip
    found = box(route={"rules": rules, "rule_set": sets, "final": "direct"})

    for host in ("m.example", "g.example", "l.example"):
        assert ends_of(found, host) == {"p"}
    assert ends_of(found) == {"direct"}
    assert [(rule.to, rule.part) for rule in found.left_out] == [
        ("p", True),
        ("p", True),
        ("p", False),
        ("block", False),
        ("p", True),
    ]


@pytest.mark.parametrize("kind", ["url-test", "fallback", "load-balance"])
def test_a_proxy_that_is_lost_deep_inside_is_not_made_up_for_by_direct(kind: str) -> None:
    found = clash(
        f"- {{name: far, type: socks5, server: x, port: 1, dialer-proxy: inner}}\n"
        f"proxy-groups: [{{name: G, type: {kind}, proxies: [far, DIRECT]}},"
        " {name: inner, type: fallback, proxies: [p, v]}]\nrules: ['MATCH,G']\n"
    )

    assert ends_of(found) == {"far"}


BAD = "- {name: bad, type: ss, server: b.example, port: 1, cipher: rc4-md5, password: x}\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_that_the_check_refuses_is_lost_too(kind: str) -> None:
    found = clash(
        f"{BAD}proxy-groups: [{{name: G, type: {kind}, proxies: [H, DIRECT]}},"
        f" {{name: H, type: {kind}, proxies: [bad]}}]\nrules: ['MATCH,G']\n"
    )

    assert ends_of(found) == {"reject"}


def test_groups_in_a_circle_reject() -> None:
    found = clash(
        "proxy-groups: [{name: A, type: select, proxies: [B, DIRECT]},"
        " {name: B, type: fallback, proxies: [A, DIRECT]}]\nrules: ['MATCH,A']\n"
    )

    assert "direct" not in ends_of(found)


LEAVES = ("v", "w", "p", "q", "DIRECT", "REJECT", "PASS", "COMPATIBLE", "nobody", "bad")
PLACES = st.lists(st.sampled_from(LEAVES) | st.integers(0, 4), min_size=1, max_size=4)


def may_go_direct(groups: list[tuple[str, list[str | int]]], way: str | int) -> bool:
    """Whether the source itself may send a flow direct, where proxies that are carried may be down
    and those that are lost would have worked, and where no person has chosen."""
    if isinstance(way, str):
        return way in ("DIRECT", "COMPATIBLE")
    kind, members = groups[way]
    if kind == "select":
        return may_go_direct(groups, members[0])
    if kind != "fallback":
        return any(may_go_direct(groups, member) for member in members)
    for member in members:
        if may_go_direct(groups, member):
            return True
        if surely_works(groups, member):
            return False
    return False


def surely_works(groups: list[tuple[str, list[str | int]]], way: str | int) -> bool:
    """Whether a way has a lost proxy that it would have come to."""
    if isinstance(way, str):
        return way in ("v", "w", "nobody", "bad")
    kind, members = groups[way]
    if kind == "select":
        return surely_works(groups, members[0])
    return any(surely_works(groups, member) for member in members)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(KINDS), PLACES), min_size=1, max_size=5), st.randoms())
def test_no_flow_goes_direct_that_the_source_sends_by_a_proxy(
    drawn: list[tuple[str, list[str | int]]], order: Random
) -> None:
    groups = [  # each leads to later ones alone, so there is no circle
        (kind, [one if isinstance(one, str) or at < one < len(drawn) else "p" for one in members])
        for at, (kind, members) in enumerate(drawn)
    ]
    lines = [
        f"- {{name: g{at}, type: {kind}, proxies: ["
        + ", ".join(one if isinstance(one, str) else f"g{one}" for one in members)
        + "]}\n"
        for at, (kind, members) in enumerate(groups)
    ]
    order.shuffle(lines)

    found = clash(f"{BAD}proxy-groups:\n{''.join(lines)}rules: ['MATCH,g0']\n")

    rule = found.config.rules[-1]
    here = ends(found, rule.way) if rule.way in found.config.groups else {rule.way}
    passes = any(note.what == "g0" and "next rules" in note.why for note in found.notes)
    if "direct" in here and not passes:
        assert may_go_direct(groups, 0)
