"""Whom a group chooses from, how its proxies are reached, and by what lists and servers are."""

from __future__ import annotations

import pytest

from tests.importing.sources import box, clash, ends_of


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


@pytest.mark.parametrize("tag", ["direct", "eth"])
def test_what_goes_direct_asks_nobody_in_place_of_a_lost_server(tag: str) -> None:
    servers = [
        {"tag": "l", "type": "udp", "server": "192.0.2.1"},
        {"tag": "g", "type": "tls", "server": "192.0.2.2", "detour": "v"},
    ]
    eth: dict[str, object] = {
        "type": "direct",
        "tag": "eth",
        "bind_interface": "eth0",
        "domain_resolver": "g",
    }
    route = {"final": tag, "default_domain_resolver": "g", "default_interface": "eth1"}
    config = box(
        {**eth, "domain_resolver": "g"}, dns={"servers": servers, "final": "l"}, route=route
    ).config
    assert config.dns is not None
    way = config.outbounds[tag]
    assert way.asks == ("nowhere",)
    assert way.interface == ("eth0" if tag == "eth" else "eth1")  # type: ignore[attr-defined]
    assert config.dns.use == ("l",)


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
        ("include-all: true, exclude-type: 'vmess|Snell|http'", ["p", "q"]),
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


def test_the_interface_of_everything_is_that_of_direct_by_which_proxies_are_reached() -> None:
    found = box(route={"final": "p", "default_interface": "wg0", "default_mark": "0x2a"})
    direct = found.config.outbounds["direct"]

    assert (direct.interface, direct.mark) == ("wg0", 42)  # type: ignore[attr-defined]
    assert found.config.outbounds["p"].hop[1] == "direct"  # type: ignore[index]
    assert ends_of(clash("interface-name: wg0\nrules: ['MATCH,DIRECT']\n")) == {"direct"}


def test_a_note_names_the_first_few_of_the_members_that_are_lost() -> None:
    lost = "".join(f"- {{name: n{at}, type: snell, server: x, port: 1}}\n" for at in range(900))
    found = clash(
        f"{lost}proxy-groups: [{{name: G, type: select, include-all: true, filter: 'n|p'}}]\n"
        "rules: ['MATCH,G']\n"
    )

    notes = {note.what: note.why for note in found.notes}
    assert notes["G"] == "is without n0, n1, n10, n100, n101 and 895 more now"
    assert ends_of(found) == {"p"}
