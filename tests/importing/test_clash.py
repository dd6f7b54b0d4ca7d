"""Clash's config made into ours: what is kept behaves as there, what is not is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from byway.config import InlineSet, check_report, judge_of, load, load_text, open_sets
from byway.config.names.own import hosts_of
from byway.config.rules.compile import names_judge_of
from byway.errors import ConfigError
from byway.flow import Flow, Network, Process, Target
from byway.importing import Imported, import_text
from byway.rules import NO_FACTS, Drop, Fact, Facts, Lacks, Reject, Via

HERE = Path(__file__).parent


def made(text: str) -> Imported:
    return import_text(text.encode(), "clash.yaml")


def example() -> Imported:
    return import_text((HERE / "clash.yaml").read_bytes(), "clash.yaml", str(HERE))


def way(found: Imported, host: str, port: int = 443, network: str = "tcp") -> str:
    """Where a flow goes by the imported rules; a name has no address."""
    flow = Flow(1, Network(network), "mixed", None, Target.of(host, port))
    judge, facts = judge_of(found.config), NO_FACTS
    verdict = judge.decide(flow, facts)
    if isinstance(verdict, Lacks):
        facts = Facts(addresses=(), process=None)
        verdict = judge.decide(flow, facts)
    match verdict:
        case Via(outbound):
            return outbound
        case Reject():
            return "reject"
        case Drop():
            return "drop"
    return f"lacks {verdict.fact.value}"


def test_a_file_is_sound_after_it(tmp_path: Path) -> None:
    found = example()
    (tmp_path / "byway.yaml").write_text(found.text)
    (tmp_path / "byway.yaml").chmod(0o600)

    again = load(tmp_path / "byway.yaml")

    assert check_report(tmp_path / "byway.yaml").ok
    assert load_text(found.text, "clash.yaml", str(HERE)) == found.config
    assert (again.inbounds["mixed"].type, len(again.outbounds)) == ("mixed", 8)


def test_secrets_keep_their_spelling() -> None:
    users = example().config.inbounds["mixed"].users  # type: ignore[attr-defined]
    assert [user.password.get_secret_value() for user in users] == ["0123", "1e5"]
    assert 'password: "007"' in example().text


@pytest.mark.parametrize(
    ("host", "port", "network", "to"),
    [
        ("www.example.com", 443, "tcp", "direct"),
        ("mail.google.com", 443, "tcp", "PROXY"),
        ("www.youtube.com", 443, "tcp", "PROXY"),
        ("tracker.example", 443, "tcp", "reject"),
        ("10.1.2.3", 443, "tcp", "direct"),
        ("fd00::1", 443, "tcp", "direct"),
        ("192.168.1.1", 443, "tcp", "direct"),
        ("x.a.example", 443, "udp", "reject"),
        ("other.example", 443, "udp", "reject"),
        ("a.example", 80, "tcp", "reject"),
        ("other.example", 80, "tcp", "lacks process"),
        ("sub.example", 81, "tcp", "lb"),
    ],
)
def test_flows_go_where_clash_sends_them(host: str, port: int, network: str, to: str) -> None:
    assert way(example(), host, port, network) == to


def test_what_is_not_kept_is_told_with_its_line() -> None:
    found = example()
    lines = (HERE / "clash.yaml").read_text().splitlines()
    told = {
        (note.what, lines[note.line - 1].split()[0] if note.line else "") for note in found.notes
    }
    notes = {note.what: note.why for note in found.notes}

    assert ("tun", "tun:") in told
    assert notes["v"] == "VMess is not supported yet"
    assert notes["Auto"] == "is without v now"
    assert notes["only-v"] == "none of its members is supported"
    assert notes["ads"] == "is reject now: a group cannot choose a verdict"
    assert "not verified" in notes["t"]
    assert "--country" in notes["GEOIP,CN,DIRECT"]
    assert found.config.sets["bin"].format == "mrs"
    sites = [one for one in found.config.sets.values() if one.format == "geosite"]
    assert [one.list for one in sites if not isinstance(one, InlineSet)] == ["cn"]
    assert "rejects now: 'only-v' is not carried" in notes["RULE-SET,mine,only-v"]
    assert "secret-word" not in str(found.notes)


def test_nothing_goes_direct_that_was_to_be_hidden() -> None:
    found = made("""
proxies:
  - {name: a, type: snell, server: x, port: 1}
  - {name: b, type: socks5, server: x, port: 1, dialer-proxy: a}
proxy-groups: [{name: G, type: fallback, proxies: [a, b]}]
rules: ["DOMAIN,x.example,a", "DOMAIN,y.example,nobody", "MATCH,G"]
""")
    for host in ("x.example", "y.example", "z.example"):
        assert way(found, host) == "reject"


def test_groups_are_kept_in_kind() -> None:
    groups = made("""
proxies: [{name: a, type: http, server: x, port: 1}, {name: b, type: http, server: y, port: 1}]
proxy-groups:
  - {name: s, type: select, proxies: [b, a]}
  - {name: f, type: url-test, proxies: [a, b], tolerance: 20, url: "http://t.example/204",
    interval: 3}
  - {name: o, type: fallback, proxies: [a, s], url: x}
  - {name: l, type: load-balance, strategy: sticky-sessions, proxies: [a, b]}
  - {name: all, type: select, include-all: true, exclude-filter: "^b"}
""").config.groups
    assert {name: group.type for name, group in groups.items()} == {
        "s": "select",
        "f": "fastest",
        "o": "fallback",
        "l": "balance",
        "all": "select",
    }
    assert groups["s"].members == ("b", "a")
    assert groups["all"].members == ("a",)
    assert str(groups["f"].probe.url) == "http://t.example/204"  # type: ignore[union-attr]
    assert groups["f"].probe.every == 5  # type: ignore[union-attr]
    assert groups["o"].type == "fallback"


def test_plugins_are_told_what_they_were_told() -> None:
    found = made("""
x: &x {type: ss, server: x, port: 1, cipher: aes-128-gcm, password: p}
proxies:
  - {<<: *x, name: a, plugin: obfs, plugin-opts: {mode: tls, host: h.example}}
  - <<: *x
    name: b
    plugin: v2ray-plugin
    plugin-opts: {mode: websocket, tls: true, host: h, path: "/a;b", mux: false}
  - {<<: [*x], name: c, plugin: shadow-tls}
  - {<<: *x, name: d, cipher: rc4-md5}
""")
    assert found.config.outbounds["a"].plugin_opts == "obfs=tls;obfs-host=h.example"  # type: ignore[attr-defined]
    assert found.config.outbounds["b"].plugin_opts == "tls;host=h;path=/a\\;b;mux=0"  # type: ignore[attr-defined]
    assert set(found.config.outbounds) == {"a", "b", "direct"}
    assert {note.what for note in found.notes} == {"x", "c", "d"}


def test_ways_in_are_kept() -> None:
    found = made("""
port: 7890
socks-port: 7891
redir-port: 7892
allow-lan: true
listeners:
  - {name: one, type: mixed, port: 7000, listen: 127.0.0.1, users: [{username: u, password: p}]}
  - {name: two, type: shadowsocks, port: 7001, listen: 127.0.0.1, cipher: aes-128-gcm, password: p}
  - {name: three, type: tproxy, port: 7002}
tunnels: ["tcp/udp,127.0.0.1:6553,8.8.8.8:53,DIRECT"]
mode: direct
""")
    inbounds = found.config.inbounds
    assert [one.type for one in inbounds.values()] == [
        "http", "socks", "redirect", "mixed", "shadowsocks", "tproxy", "forward",
    ]  # fmt: skip
    assert inbounds["http"].open  # type: ignore[attr-defined]
    assert "anyone" in str(found.notes)
    assert found.config.rules[-1].way == "direct"


def test_bombs_do_not_go_off() -> None:
    layers = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]\n" for at in range(1, 9)
    )
    with pytest.raises(ConfigError, match="expand to more"):
        made(layers + "proxies: *a8\n")
    with pytest.raises(ConfigError, match="nested deeper"):
        made("proxies: " + "[" * 100 + "]" * 100)
    with pytest.raises(ConfigError, match="larger than"):
        import_text(b"proxies: #" + b"x" * (16 << 20), "big")
    deep = "NOT,((" * 3000 + "DOMAIN,a" + "))" * 3000
    assert "nested too deep" in str(made(f"port: 1\nrules: ['{deep},DIRECT']").notes)


def test_names_are_kept() -> None:
    assert '"🇭🇰 Hong Kong":' in example().text
    found = made("""
proxies:
  - {name: "香港", type: http, server: x, port: 1}
  - {name: "日本", type: http, server: x, port: 1}
  - {name: "reject", type: http, server: x, port: 1}
  - {name: "a\\nb: c # d", type: http, server: x, port: 1}
  - {name: "香港", type: http, server: again, port: 1}
rules: ["MATCH,日本"]
""")
    assert set(found.config.outbounds) == {"香港", "日本", "reject-2", "a b: c # d", "direct"}
    assert found.config.rules[-1].way == "日本"


def test_names_that_are_no_names_here_become_like_ones() -> None:
    hidden = "a\u200bb", "c\u202ed", "d\u0456rect", "e\u00a0 f", "VPN\u044b", "\u200b", "x" * 90
    proxies = "".join(
        f"  - {{name: {json.dumps(name)}, type: http, server: x, port: 1}}\n" for name in hidden
    )
    found = made(f"proxies:\n{proxies}rules: ['MATCH,DIRECT']")
    names = {"ab", "cd", "direct-2", "e f", "VPN-\u044b", "way", "x" * 58, "direct"}
    assert set(found.config.outbounds) == names


def test_names_that_look_alike_are_told_apart() -> None:
    found = made("""
proxies:
  - {name: "♻️ A", type: http, server: x, port: 1}
  - {name: "♻ A", type: http, server: y, port: 1}
rules: ["MATCH,♻ A"]
""")
    assert set(found.config.outbounds) == {"♻️ A", "♻ A-2", "direct"}
    assert found.config.rules[-1].way == "♻ A-2"


def test_names_are_resolved_as_there() -> None:
    dns = example().config.dns
    assert dns is not None
    assert {name: str(one.address) for name, one in dns.servers.items()} == {
        "dns-1": "https://dns.example",
        "dns-2": "tls://1.1.1.1",
        "dns-3": "udp://10.0.0.53",
        "dns-4": "udp://8.8.8.8",
    }
    assert dns.servers["dns-2"].via == "🇭🇰 Hong Kong"
    assert dns.use == ("dns-1", "dns-2", "system")
    assert [rule.use for rule in dns.rules] == [("dns-3",), ("dns-4",)]
    assert dns.hosts["router.example"] == ("192.168.1.1",)
    assert dns.addresses == "ipv4"


def test_a_server_whose_way_is_gone_is_not_asked_directly() -> None:
    found = made("""
proxies: [{name: v, type: snell, server: x, port: 1}]
dns:
  enable: true
  nameserver: ["tls://1.1.1.1#v", "8.8.8.8"]
  nameserver-policy: {a.example: "tls://9.9.9.9#v", "geosite:cn": 1.2.4.8}
hosts: {"bad name": 1.1.1.1, good.example: 1.1.1.1}
""")
    dns = found.config.dns
    assert dns is not None
    assert {name: str(one.address) for name, one in dns.servers.items()} == {
        "dns-2": "udp://8.8.8.8",
        "nowhere": "tcp://127.0.0.1:9",
    }
    assert dns.use == ("dns-2",)
    assert [rule.use for rule in dns.rules] == [("nowhere",)]
    assert list(dns.hosts) == ["good.example"]
    assert len(found.notes) >= 4


def test_much_in_few_words_is_bounded() -> None:
    subs = "".join(
        f"  s{at}: [" + f"'SUB-RULE,(NETWORK,tcp),s{at + 1}', " * 20 + "]\n" for at in range(12)
    )
    with pytest.raises(ConfigError, match="expands to more than"):
        made(f"rules: ['SUB-RULE,(NETWORK,tcp),s0']\nsub-rules:\n{subs}")
    proxies = "".join(f"- {{name: n{at}, type: http, server: x, port: 1}}\n" for at in range(600))
    groups = "".join(f"- {{name: g{at}, type: select, include-all: true}}\n" for at in range(600))
    with pytest.raises(ConfigError, match="expands to more than"):
        made(f"proxies:\n{proxies}proxy-groups:\n{groups}")


def test_many_of_one_name_are_told_apart() -> None:
    same = "".join(f"- {{name: '香{at}', type: http, server: x, port: 1}}\n" for at in range(2000))
    names = set(made(f"proxies:\n{same}").config.outbounds)
    assert len(names) == 2001


def test_what_stands_behind_match_changes_nothing() -> None:
    found = made(
        "proxies: [{name: a, type: socks5, server: 192.0.2.1, port: 1}]\n"
        "rules:\n- MATCH,a\n- DOMAIN,x.example,DIRECT\n- DOMAIN,y.example,DIRECT\n"
    )

    assert (way(found, "x.example"), way(found, "z.example")) == ("a", "a")
    assert [(note.line, note.why) for note in found.notes] == [
        (4, "2 after MATCH, which matches everything")
    ]


def test_a_regex_keeps_its_commas_and_brackets() -> None:
    found = made("rules:\n- DOMAIN-REGEX,^a{1,2}(b|\\()$,REJECT\n- MATCH,DIRECT\n")

    assert (way(found, "aab"), way(found, "aaab"), found.notes) == ("reject", "direct", ())


def test_lists_and_sections_that_are_not_kept_are_told() -> None:
    notes = made(
        "port: 7890\ndns:\n  enable: true\n  nameserver: ['quic://dns.example/token', dhcp]\n"
        "  fallback: [192.0.2.1]\n  fallback-filter: {geoip: true}\n  fake-ip-filter: ['*.lan']\n"
    ).notes

    assert [(note.line, note.what) for note in notes] == [
        (4, "a name server"),
        (4, "quic"),
        (5, "dns.fallback"),
        (6, "dns.fallback-filter"),
    ]
    assert not any("token" in note.why for note in notes)


def test_proxies_without_a_name_and_of_one_name_are_told() -> None:
    found = made(
        "proxies:\n- {name: a, type: socks5, server: 192.0.2.1, port: 1}\n- words\n"
        "- {name: a, type: socks5, server: 192.0.2.2, port: 1}\n"
    )

    assert [note.line for note in found.notes] == [3, 4]
    assert found.config.outbounds["a"].server.host == "192.0.2.1"  # type: ignore[attr-defined]


def test_an_open_tunnel_is_told() -> None:
    notes = made("tunnels:\n- tcp,0.0.0.0:5300,192.0.2.1:53,DIRECT\n").notes

    assert [(note.line, "open: true" in note.why) for note in notes] == [(2, True)]


def test_udp_over_tcp_is_kept_where_it_is_of_the_version_spoken_here() -> None:
    proxy = "type: ss, server: 192.0.2.1, port: 1, cipher: aes-128-gcm, password: x"
    found = made(
        f"proxies:\n- {{name: a, {proxy}, udp-over-tcp: true, udp-over-tcp-version: 2}}\n"
        f"- {{name: b, {proxy}, udp-over-tcp: true}}\n"
    )

    assert [found.config.outbounds[name].udp_over_tcp for name in "ab"] == [True, False]  # type: ignore[attr-defined]
    assert [(note.line, note.what) for note in found.notes] == [(3, "b")]


def test_a_bad_rule_takes_none_of_its_neighbours_along() -> None:
    found = made(
        "rules:\n- DOMAIN-REGEX,^good,REJECT\n- DOMAIN-REGEX,(?<!x)bad,REJECT\n"
        "- DOMAIN-REGEX,(?=y)bad,REJECT\n- DOMAIN-REGEX,fine$,REJECT\n- MATCH,DIRECT\n"
    )

    assert [way(found, name) for name in ("good.a", "a.fine", "a.b")] == [
        "reject", "reject", "direct"
    ]  # fmt: skip
    assert [note.line for note in found.notes] == [3, 4]


def test_rules_that_are_all_bad_leave_nothing() -> None:
    found = made("rules:\n- DOMAIN-REGEX,(?<!x)a,REJECT\n- DOMAIN-REGEX,(?=y)a,REJECT\n")

    assert (len(found.config.rules), [note.line for note in found.notes]) == (1, [2, 3])


def test_global_mode_without_a_proxy_that_is_carried_rejects() -> None:
    found = made("port: 1\nmode: global\nproxies: [{name: a, type: vmess}]\nrules: ['MATCH,a']\n")

    assert way(found, "a.example") == "reject"


TO_P = "proxies: [{name: P, type: socks5, server: 192.0.2.1, port: 1}]\n"


def from_(found: Imported, source: str, host: str = "198.51.100.1") -> str:
    """Where a flow from an address goes."""
    flow = Flow(1, Network.TCP, "mixed", Target.of(source, 5), Target.of(host, 443))
    verdict = judge_of(found.config).decide(flow, Facts(addresses=()))
    return verdict.outbound if isinstance(verdict, Via) else "no way"


def test_no_resolve_takes_nothing_from_a_set_of_names() -> None:
    found = made(
        f"{TO_P}rule-providers:\n"
        "  s: {type: inline, payload: ['DOMAIN,a.example', 'IP-CIDR,10.0.0.0/8']}\n"
        "rules: ['RULE-SET,s,P,no-resolve', 'IP-CIDR,192.0.2.0/24,REJECT', "
        "'IP-CIDR,10.0.0.0/8,P,no-resolve', 'MATCH,DIRECT']\n"
    )

    assert way(found, "a.example") == "P"
    assert way(found, "10.1.1.1") == "P"
    judge, flow = judge_of(found.config), Flow(1, Network.TCP, "", None, Target.of("b.example", 1))
    assert judge.decide(flow) == Lacks(Fact.ADDRESS)
    verdict = judge.decide(flow, Facts(addresses=(bytes([10, 1, 1, 1]),)))
    assert isinstance(verdict, Via)
    assert verdict.outbound == "P"
    assert verdict.rule.text.startswith("ip: ")
    assert found.notes == ()


@pytest.mark.parametrize(
    "rule",
    [
        "IP-CIDR,192.168.7.1/24,P,src",
        "IP-CIDR,192.168.7.0/24,P,no-resolve,src",
        "SRC-IP-CIDR,192.168.7.9/24,P",
        "GEOIP,LAN,P,src",
        "SRC-GEOIP,private,P",
        "RULE-SET,home,P,src",
        "RULE-SET,by-source,P",
        "AND,((NETWORK,tcp),(IP-CIDR,192.168.7.0/24,src)),P",
    ],
)
def test_a_rule_about_the_source_stays_one(rule: str) -> None:
    found = made(
        f"{TO_P}rule-providers:\n"
        "  home: {type: inline, behavior: ipcidr, payload: [192.168.7.0/24]}\n"
        "  by-source: {type: inline, payload: ['IP-CIDR,192.168.7.0/24,src']}\n"
        f"rules: ['{rule}', 'MATCH,DIRECT']\n"
    )

    assert (from_(found, "192.168.7.7"), from_(found, "8.8.8.8")) == ("P", "direct")
    assert from_(found, "8.8.8.8", "192.168.7.7") == "direct"
    assert found.notes == ()


def test_options_that_are_not_known_are_told() -> None:
    found = made(
        f"{TO_P}rules:\n- DOMAIN,a.example,P,no-resolve\n- DOMAIN,b.example,P,src\n"
        "- IP-CIDR,10.0.0.0/8,P,force-remote-dns\n- MATCH,DIRECT\n"
    )

    assert way(found, "a.example") == way(found, "b.example") == way(found, "10.1.1.1") == "P"
    assert [(note.line, note.why) for note in found.notes] == [
        (4, "the option src has no effect"),
        (5, "the option force-remote-dns has no effect"),
    ]


def test_options_are_told_in_lists_and_of_logic_too() -> None:
    found = made(
        f"{TO_P}rule-providers:\n  s:\n    type: inline\n    behavior: classical\n    payload:\n"
        "    - IP-CIDR,10.0.0.0/8,foo\n    - IP-CIDR,10.1.0.0/16,no-resolve,src\n"
        "    - MATCH\n    - 'DOMAIN-REGEX,^a{1,2}$'\n"
        "  n: {type: inline, behavior: ipcidr, payload: [192.0.2.0/24, a.example]}\n"
        "rules:\n- RULE-SET,s,P\n- RULE-SET,n,P\n"
        "- AND,((DOMAIN,c.example),(NETWORK,tcp)),P,no-resolve\n- MATCH,DIRECT\n"
    )

    assert [(note.what, note.why) for note in found.notes] == [
        ("IP-CIDR,10.0.0.0/8", "the option foo has no effect"),
        ("MATCH", "is not allowed in the set 's': expected KIND,value"),
        ("a.example", "is not allowed in the set 'n': not an IP prefix"),
        ("AND,((DOMAIN,c.example),(NETWORK,tcp))", "the option no-resolve has no effect"),
    ]
    assert way(found, "10.1.1.1") == way(found, "192.0.2.1") == way(found, "aa") == "P"
    assert way(found, "match") == way(found, "a.example") == "direct"


def test_networks_around_are_those_of_clash() -> None:
    found = made(f"{TO_P}rules: ['GEOIP,LAN,DIRECT,no-resolve', 'MATCH,P']\n")

    for host in ("10.1.1.1", "127.0.0.1", "169.254.1.1", "fd00::1", "fe80::1", "224.0.0.1"):
        assert way(found, host) == "direct"
    for host in ("100.64.0.1", "0.1.2.3", "255.255.255.255", "192.0.2.1"):
        assert way(found, host) == "P"


def test_an_inline_provider_understands_what_a_file_does() -> None:
    found = made(
        f"{TO_P}rule-providers:\n  s:\n    type: inline\n    behavior: classical\n    payload:\n"
        "    - DST-PORT,8000-8001\n    - AND,((NETWORK,udp),(DOMAIN-SUFFIX,u.example))\n"
        "    - PROCESS-NAME,Curl\n    - IP-CIDR,10.0.0.0/8,no-resolve\n    - RULE-SET,x\n"
        "  d: {type: inline, behavior: domain, payload: ['*.one.example', 'a.*.mid.example']}\n"
        "rules: ['RULE-SET,d,P', 'RULE-SET,s,P', 'MATCH,DIRECT']\n"
    )

    assert way(found, "x.example", 8001) == way(found, "x.u.example", 1, "udp") == "P"
    assert way(found, "x.one.example") == way(found, "a.b.mid.example") == "P"
    for host in ("x.y.one.example", "one.example", "a.b.c.mid.example", "a.mid.example"):
        assert way(found, host) == "lacks process"
    judge, flow = judge_of(found.config), Flow(1, Network.TCP, "", None, Target.of("b.example", 1))
    verdict = judge.decide(flow, Facts(process=Process("cURL", "/usr/bin/cURL")))
    assert isinstance(verdict, Via)
    assert verdict.outbound == "P"
    assert [note.what for note in found.notes] == ["RULE-SET,x"]


def test_names_of_hosts_and_policies_are_those_of_clash() -> None:
    found = made("""
dns:
  enable: true
  nameserver: [192.0.2.53]
  nameserver-policy:
    "*.one.example,exact.example,+.all.example": 192.0.2.54
    "+.a.example,+.b.example": 192.0.2.55
hosts: {"+.whole.example": 192.0.2.1, x.whole.example: 192.0.2.2, "*.part.example": 192.0.2.3,
  ".below.example": 192.0.2.4, "a.*.example": 192.0.2.5}
""")
    dns = found.config.dns
    assert dns is not None
    hosts = hosts_of(dns)

    def told(name: str) -> str:
        _, addresses = hosts.follow(name)
        return "" if addresses is None else Target.from_packed(addresses[0], 0).host

    assert [told(name) for name in ("whole.example", "y.whole.example", "x.whole.example")] == [
        "192.0.2.1", "192.0.2.1", "192.0.2.2"
    ]  # fmt: skip
    assert [told(name) for name in ("z.below.example", "below.example", "q.part.example")] == [
        "192.0.2.4", "", "192.0.2.3"
    ]  # fmt: skip
    assert [note.what for note in found.notes] == ["*.part.example", "a.*.example"]

    judge, _ = names_judge_of(found.config, dns, open_sets(found.config).sets)

    def asked(name: str) -> str:
        said = judge.decide(Flow(0, Network.TCP, "", None, Target(name, 0)), Facts(addresses=()))
        return said.outbound if isinstance(said, Via) else ""

    several, suffix, rest = asked("exact.example"), asked("a.example"), asked("other.example")
    assert len({several, suffix, rest}) == 3
    assert asked("x.one.example") == asked("y.x.all.example") == asked("all.example") == several
    assert asked("y.x.one.example") == asked("one.example") == asked("x.exact.example") == rest
    assert asked("c.b.example") == suffix
