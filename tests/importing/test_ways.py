"""Nothing goes direct that was to go by a proxy, whatever leads to a proxy that is lost."""

from __future__ import annotations

import itertools
import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byway.config import judge_of
from byway.flow import Flow, Network, Target
from byway.importing import Imported, LeftOut, import_text
from byway.rules import NO_FACTS, Reject, Via

PROXIES = """proxies:
- {name: v, type: vless, server: a.example, port: 1, uuid: x}
- {name: w, type: vmess, server: a.example, port: 1, uuid: x}
- {name: p, type: socks5, server: p.example, port: 1}
- {name: q, type: socks5, server: q.example, port: 1}
"""


def clash(text: str) -> Imported:
    return import_text((PROXIES + text).encode(), "clash.yaml")


def box(*outbounds: dict[str, object], **more: object) -> Imported:
    first = [
        {"type": "vless", "tag": "v", "server": "a.example", "server_port": 1},
        {"type": "socks", "tag": "p", "server": "p.example", "server_port": 1},
        {"type": "direct", "tag": "direct"},
        {"type": "block", "tag": "block"},
    ]
    file = {"outbounds": [*outbounds, *first], **more}
    return import_text(json.dumps(file).encode(), "box.json")


def ends(found: Imported, way: str) -> set[str]:
    """The outbounds that a way may lead to while no person has chosen."""
    if (group := found.config.groups.get(way)) is None:
        return {way}
    if group.type == "select":
        return ends(found, group.default or group.members[0])
    return set().union(*(ends(found, member) for member in group.members))


def ends_of(found: Imported, host: str = "any.example") -> set[str]:
    """Where a flow may come out; `reject` where it is refused."""
    flow = Flow(1, Network.TCP, "mixed", None, Target.of(host, 443))
    verdict = judge_of(found.config).decide(flow, NO_FACTS)
    match verdict:
        case Via(outbound):
            return ends(found, outbound)
        case Reject():
            return {"reject"}
    raise AssertionError(verdict)


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


def test_a_list_is_not_fetched_directly_that_was_to_come_by_a_proxy() -> None:
    found = clash(
        "rule-providers: {ads: {type: http, behavior: domain, url: 'https://x.example/a.yaml',"
        "proxy: v}}\nrules: ['RULE-SET,ads,REJECT', 'MATCH,p']\n"
    )

    assert dict(found.config.sets) == {}
    assert [(rule.what, rule.to) for rule in found.left_out] == [("RULE-SET,ads,REJECT", "REJECT")]


def test_names_that_were_asked_for_by_a_lost_proxy_are_asked_of_nobody() -> None:
    dns = clash(
        "dns:\n  enable: true\n  nameserver: ['tls://192.0.2.1#v']\n"
        "  nameserver-policy: {'+.a.example': ['tls://192.0.2.2#v', '192.0.2.3']}\n"
    ).config.dns

    assert dns is not None
    assert dns.use == ("nowhere",)
    assert str(dns.servers["nowhere"].address) == "tcp://127.0.0.1:9"
    assert [str(dns.servers[name].address) for name in dns.rules[0].use] == ["udp://192.0.2.3"]


@pytest.mark.parametrize(
    ("servers", "use"),
    [
        ("nameserver: ['quic://dns.example#p']", "nowhere"),
        ("nameserver: ['quic://dns.example#v']", "nowhere"),
        ("nameserver: ['quic://dns.example#DIRECT']", "system"),
        ("nameserver: ['quic://dns.example#p', '192.0.2.1']", "dns-2"),
        ("respect-rules: true\n  nameserver: ['quic://dns.example']", "nowhere"),
        ("nameserver: ['quic://dns.example']", "system"),
    ],
)
def test_a_server_that_cannot_be_asked_by_a_proxy_leaves_its_names_to_nobody(
    servers: str, use: str
) -> None:
    dns = clash(f"dns:\n  enable: true\n  {servers}\nrules: ['MATCH,p']\n").config.dns
    assert dns is not None
    assert dns.use == (use,)


@pytest.mark.parametrize(
    ("detour", "use"), [("p", "nowhere"), ("v", "nowhere"), ("direct", "system"), ("", "system")]
)
def test_a_server_of_sing_box_that_cannot_be_asked_by_a_proxy(detour: str, use: str) -> None:
    server = {"tag": "s", "type": "h3", "server": "192.0.2.1", "detour": detour}
    rule = {"domain": ["a.example"], "server": "s"}
    dns = box(dns={"servers": [server], "rules": [rule], "strategy": "ipv4_only"}).config.dns
    assert dns is not None
    assert dns.use == (use,)
    assert [one.use for one in dns.rules] == ([("nowhere",)] if use == "nowhere" else [])


def test_proxies_alone_are_all_used() -> None:
    found = clash("")

    assert ends_of(found) == {"p"}
    assert found.config.groups["proxies"].members == ("p", "q")
    assert ends_of(import_text(b"proxies: [{name: a, type: http, server: x, port: 1}]", "x")) == {
        "a"
    }
    lost = b"port: 1\nproxies: [{name: a, type: vless, server: x, port: 1}]"
    assert ends_of(import_text(lost, "x")) == {"reject"}


def test_proxies_and_groups_without_rules_go_by_the_first_group() -> None:
    found = clash("proxy-groups: [{name: G, type: select, proxies: [v, q, p]}]\n")

    assert ends_of(found) == {"q"}
    assert any(note.what == "rules" and "'G'" in note.why for note in found.notes)


def test_rules_that_are_left_out_are_counted_by_where_they_led() -> None:
    found = clash(
        "rules:\n- GEOSITE,gfw,p\n- IP-SUFFIX,8.8.8.8/24,p\n- RULE-SET,gone,q\n"
        "- 'OR,((GEOSITE,gfw),(DOMAIN,o.example)),p'\n- 'NOT,((OR,((GEOSITE,gfw),(DOMAIN,o)))),p'\n"
        "- MATCH,DIRECT\n"
    )

    line = PROXIES.count("\n") + 2
    assert found.left_out == (
        LeftOut(line, "GEOSITE,gfw,p", "p"),
        LeftOut(line + 1, "IP-SUFFIX,8.8.8.8/24,p", "p"),
        LeftOut(line + 2, "RULE-SET,gone,q", "q"),
        LeftOut(line + 3, "OR,((GEOSITE,gfw),(DOMAIN,o.example)),p", "p", part=True),
        LeftOut(line + 4, "NOT,((OR,((GEOSITE,gfw),(DOMAIN,o)))),p", "p"),
    )
    assert (ends_of(found, "o.example"), ends_of(found)) == ({"p"}, {"direct"})


def test_a_rule_keeps_what_is_left_of_its_sets() -> None:
    sets = [
        {"type": "inline", "tag": "mine", "rules": [{"domain": ["m.example"]}]},
        {"type": "remote", "tag": "bin", "url": "https://x.example/bin.srs"},
    ]
    rules = [
        {"rule_set": ["bin", "mine"], "outbound": "p"},
        {"geosite": ["gfw"], "domain": ["g.example"], "outbound": "p"},
        {"geosite": ["gfw"], "port": 443, "outbound": "p"},
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


@pytest.mark.parametrize("match", ["p", "DIRECT", "G"])
def test_lists_and_name_servers_go_by_the_rules_where_they_do_there(match: str) -> None:
    via = "direct" if match == "DIRECT" else match
    found = clash(
        "proxy-groups: [{name: G, type: select, proxies: [p, q]}]\n"
        "rule-providers:\n"
        "  a: {type: http, behavior: domain, url: 'https://x.example/a.yaml'}\n"
        "  b: {type: http, behavior: domain, url: 'https://x.example/b.yaml', proxy: DIRECT}\n"
        "dns:\n  enable: true\n  respect-rules: true\n  nameserver: ['tls://192.0.2.1']\n"
        "  proxy-server-nameserver: ['tls://192.0.2.1']\n"
        f"rules: ['MATCH,{match}']\n"
    ).config

    assert [found.sets[name].via for name in "ab"] == [via, "direct"]  # type: ignore[union-attr]
    assert found.dns is not None
    ((of_proxies,), (server,)) = found.dns.rules[0].use, found.dns.use
    assert found.dns.rules[0].domain == ("p.example", "q.example")
    assert found.dns.servers[of_proxies].via is None
    assert found.dns.servers[server].via == via


@pytest.mark.parametrize(
    ("final", "sets", "asked"),
    [("p", ["a", "b"], "p"), ("direct", ["a", "b"], "direct"), ("v", ["b"], None)],
)
def test_lists_and_name_servers_go_by_the_default_outbound_where_they_do_there(
    final: str, sets: list[str], asked: str | None
) -> None:
    lists = [
        {"type": "remote", "format": "source", "tag": "a", "url": "https://x.example/a.json"},
        {"type": "remote", "format": "source", "tag": "b", "url": "https://x.example/b.json",
         "download_detour": "direct"},
    ]  # fmt: skip
    servers = [{"tag": "old", "address": "tls://192.0.2.1"}]
    found = box(route={"rule_set": lists, "final": final}, dns={"servers": servers}).config

    assert sorted(found.sets) == sets
    ways = {"a": final, "b": "direct"}
    assert all(one.via == ways[name] for name, one in found.sets.items())  # type: ignore[union-attr]
    assert found.dns is not None
    (server,) = found.dns.use
    assert (found.dns.servers[server].via == asked) if asked else server == "nowhere"


def test_how_a_proxy_is_reached_is_kept_or_told() -> None:
    ss = "type: ss, server: x.example, port: 1, cipher: aes-128-gcm, password: x"
    found = clash(
        f"- {{name: a, {ss}, interface-name: wg0, routing-mark: 0x10}}\n"
        f"- {{name: b, {ss}, udp: false, ip-version: ipv6}}\n"
        "- {name: c, type: socks5, server: x, port: 1, udp: false, interface-name: wg0,"
        " dialer-proxy: p}\n"
        "- {name: d, type: direct, dialer-proxy: p}\n"
        "rules: ['MATCH,d']\n"
    )
    out = found.config.outbounds
    leaving = out[out["a"].via]  # type: ignore[attr-defined]
    told = {(note.what, note.why.partition(":")[0]) for note in found.notes}

    assert (leaving.type, leaving.interface, leaving.mark) == ("direct", "wg0", 16)  # type: ignore[attr-defined]
    assert {network.value for network in out["b"].networks} == {"tcp"}
    assert out["c"].via == "p"  # type: ignore[attr-defined]
    assert {
        ("b", "udp"),
        ("b", "ip-version"),
        ("c", "udp"),
        ("c", "interface-name is not kept"),
    } <= told
    assert ends_of(found) == {"reject"}


def test_how_a_proxy_of_sing_box_is_reached_is_kept_or_told() -> None:
    proxy = {"type": "socks", "server": "x", "server_port": 1}
    found = box(
        {**proxy, "tag": "a", "bind_interface": "wg0", "routing_mark": 7},
        {**proxy, "tag": "b", "network": "tcp", "domain_strategy": "ipv4_only"},
        {**proxy, "tag": "c", "type": "shadowsocks", "method": "aes-128-gcm", "password": "x",
         "network": "tcp"},
    )  # fmt: skip
    out = found.config.outbounds
    leaving = out[out["a"].via]  # type: ignore[attr-defined]
    told = {(note.what, note.why.partition(" is not")[0]) for note in found.notes}

    assert (leaving.interface, leaving.mark) == ("wg0", 7)  # type: ignore[attr-defined]
    assert {network.value for network in out["c"].networks} == {"tcp"}
    assert {("b", "network: tcp"), ("b", "domain_strategy ipv4_only")} <= told


def test_a_provider_filters_and_changes_its_proxies() -> None:
    one = "type: socks5, server: a.example, port: 1"
    found = clash(
        "proxy-providers:\n  more:\n    type: inline\n"
        f"    payload: [{{name: hk 1, {one}}}, {{name: us 1, {one}}}, {{name: p, {one}}},"
        f" {{name: hk old, {one}}}, {{name: hk ss, type: ss, server: x}}]\n"
        "    filter: 'hk|p'\n    exclude-filter: old\n    exclude-type: ss|vmess\n"
        "    override: {additional-prefix: '+', additional-suffix: '-', dialer-proxy: q,"
        " proxy-name: [{pattern: '^(hk) (\\d)', target: '$2 ${1}'}, {pattern: '^p', target: ''}],"
        " mystery: 1}\n"
        "proxy-groups: [{name: G, type: select, use: [more]}]\nrules: ['MATCH,G']\n"
    )

    assert found.config.groups["G"].members == ("+1 hk-", "+-")
    assert found.config.outbounds["+1 hk-"].via == "q"  # type: ignore[attr-defined]
    assert ("more", "override.mystery of a provider is not kept") in {
        (note.what, note.why) for note in found.notes
    }


def test_a_name_of_a_provider_that_is_taken_is_its_own_proxy() -> None:
    found = clash(
        "proxy-providers: {more: {type: inline, payload: [{name: p, type: http, server: other,"
        " port: 1}]}}\n"
        "proxy-groups: [{name: G, type: select, use: [more], filter: '^p$'}]\nrules: ['MATCH,G']\n"
    )

    assert found.config.groups["G"].members == ("p (more)",)
    assert found.config.outbounds["p (more)"].type == "http"


@pytest.mark.parametrize(
    ("group", "members"),
    [
        ("include-all: true, filter: '^(?!.*p).*$'", ["q"]),
        ("include-all: true, exclude-filter: '(?i)P'", ["q"]),
        ("include-all-proxies: true, filter: 'q`p'", ["p", "q"]),
        ("include-all: true, exclude-type: 'vmess|Vless|http'", ["p", "q"]),
        ("proxies: [p, DIRECT, q], exclude-filter: 'DIR|q'", ["p"]),
        ("proxies: [p, DIRECT], exclude-type: Direct", ["p"]),
        ("include-all: true, filter: nothing, empty-fallback: q", ["q"]),
        ("proxies: [p, q], default-selected: q", ["p", "q"]),
    ],
)
def test_filters_choose_whom_mihomo_would(group: str, members: list[str]) -> None:
    found = clash(f"proxy-groups: [{{name: G, type: select, {group}}}]\nrules: ['MATCH,G']\n")

    assert list(found.config.groups["G"].members) == members


def test_a_filter_has_a_limit_of_time() -> None:
    names = "".join(
        f"- {{name: '{'a' * 60}{at}', type: http, server: x, port: 1}}\n" for at in range(50)
    )
    found = clash(
        f"{names}proxy-groups:\n"
        "- {name: G, type: select, include-all: true, filter: '(a|aa)+$'}\n"
        "- {name: H, type: select, proxies: [DIRECT], include-all: true, filter: '(a|aa)+$'}\n"
        "rules: ['DOMAIN,h.example,H', 'MATCH,G']\n"
    )

    assert (ends_of(found), ends_of(found, "h.example")) == ({"reject"}, {"direct"})
    assert sum("its filter is not kept" in note.why for note in found.notes) == 2


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


def test_the_interface_of_everything_is_that_of_direct_by_which_proxies_are_reached() -> None:
    found = box(route={"final": "p", "default_interface": "wg0", "default_mark": "0x2a"})
    direct = found.config.outbounds["direct"]

    assert (direct.interface, direct.mark) == ("wg0", 42)  # type: ignore[attr-defined]
    assert found.config.outbounds["p"].hop[1] == "direct"  # type: ignore[index]
    assert ends_of(clash("interface-name: wg0\nrules: ['MATCH,DIRECT']\n")) == {"direct"}
