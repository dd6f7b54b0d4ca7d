"""sing-box's config made into ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from byway.config import judge_of, load_text
from byway.errors import ConfigError
from byway.flow import Flow, Network, Target
from byway.importing import Imported, import_text
from byway.rules import NO_FACTS, Drop, Lacks, Reject, Via

HERE = Path(__file__).parent


def example() -> Imported:
    return import_text((HERE / "singbox.json").read_bytes(), "singbox.json", str(HERE))


def way(
    found: Imported, host: str, port: int = 443, network: str = "tcp", user: str | None = None
) -> str:
    flow = Flow(1, Network(network), "lan" if user else "in", None, Target.of(host, port), user)
    match judge_of(found.config).decide(flow, NO_FACTS):
        case Via(outbound):
            return outbound
        case Reject():
            return "reject"
        case Drop():
            return "drop"
        case Lacks(fact):
            return f"lacks {fact.value}"


def test_a_file_is_sound_after_it() -> None:
    found = example()
    config = found.config

    assert load_text(found.text, "singbox.json", str(HERE)) == config
    assert list(config.inbounds) == ["in", "lan", "door", "tun-in"]
    assert set(config.outbounds) == {"direct", "🇯🇵 Tokyo", "tr", "hop", "eth", "dns"}
    assert config.groups["proxy"].members == ("auto", "🇯🇵 Tokyo", "direct")
    assert config.groups["auto"].members == ("🇯🇵 Tokyo", "tr")
    assert config.outbounds["tr"].via == "hop"  # type: ignore[attr-defined]
    assert str(config.outbounds["tr"].server) == "[2001:db8::7]:443"  # type: ignore[attr-defined]
    assert set(config.sets) == {"ads", "bin", "mine"}
    assert config.log.level == "warning"


@pytest.mark.parametrize(
    ("host", "port", "network", "to"),
    [
        ("a.example", 443, "tcp", "direct"),
        ("a.example", 22, "tcp", "lacks process"),
        ("x.b.example", 80, "tcp", "direct"),
        ("c.example", 80, "tcp", "direct"),
        ("10.1.1.1", 80, "tcp", "direct"),
        ("tracker.example", 80, "tcp", "drop"),
        ("other.example", 500, "udp", "reject"),
        ("192.168.1.1", 22, "tcp", "direct"),
        ("ads.example", 22, "tcp", "reject"),
    ],
)
def test_flows_go_where_sing_box_sends_them(host: str, port: int, network: str, to: str) -> None:
    assert way(example(), host, port, network) == to


def test_a_user_goes_its_way() -> None:
    assert way(example(), "other.example", user="ann") == "eth"


def test_what_is_not_kept_is_told_with_its_line() -> None:
    found = example()
    lines = (HERE / "singbox.json").read_text().splitlines()
    notes = {note.what: note for note in found.notes}

    for what, words in (
        ("tun-in", "auto_route"),
        ("vm", "VMess is not supported yet"),
        ("ws", "the transport grpc"),
        ("experimental", "unix socket"),
        ("auto", "is without vm now"),
    ):
        assert words in notes[what].why
        assert notes[what].line
        assert what in lines[notes[what].line - 1] or what == "auto"
    why = [note.why for note in found.notes if note.what == "a rule"]
    assert any("rejects now: 'ws'" in one for one in why)
    assert any("rejects now: 'vm'" in one for one in why)
    assert any("local network" in one for one in why)
    assert "secret-word" not in str(found.notes)


def test_addresses_are_asked_for_only_where_sing_box_does() -> None:
    rules: list[dict[str, object]] = [{"ip_cidr": ["10.0.0.0/8"], "outbound": "d"}]
    file = {
        "outbounds": [{"type": "http", "tag": "p", "server": "x", "server_port": 1},
                      {"type": "direct", "tag": "d"}],
        "route": {"rules": rules},
    }  # fmt: skip
    literal = import_text(json.dumps(file).encode(), "x")
    rules.insert(0, {"action": "resolve"})
    resolving = import_text(json.dumps(file).encode(), "x")

    assert way(literal, "name.example") == "p"
    assert way(literal, "10.1.1.1") == "direct"
    assert way(resolving, "name.example") == "lacks address"


def test_a_plugin_is_none_that_the_file_brings() -> None:
    outbound = {
        "type": "shadowsocks", "tag": "s", "server": "x", "server_port": 1,
        "method": "aes-128-gcm", "password": "p", "plugin": "/tmp/evil",
    }  # fmt: skip
    inbound = {"type": "mixed", "listen_port": 1}
    file = {"inbounds": [inbound], "outbounds": [outbound]}
    found = import_text(json.dumps(file).encode(), "x")

    assert set(found.config.outbounds) == {"direct"}
    assert found.config.rules[-1].way == "reject"


def test_names_are_resolved_as_there() -> None:
    dns = example().config.dns
    assert dns is not None
    assert {name: str(one.address) for name, one in dns.servers.items()} == {
        "remote": "tls://9.9.9.9",
        "old": "https://1.1.1.1",
    }
    assert (dns.servers["remote"].via, dns.servers["remote"].bootstrap) == ("proxy", "system")
    assert dns.use == ("remote",)
    assert dns.rules[0].use == ("system",)
    assert dns.addresses == "ipv4-first"


def test_sniffed_protocols_are_asked_for() -> None:
    file = {
        "outbounds": [{"type": "direct", "tag": "d"}],
        "route": {
            "rules": [
                {"protocol": ["bittorrent"], "action": "reject"},
                {"protocol": "rdp", "action": "reject"},
            ]
        },
    }
    found = import_text(json.dumps(file).encode(), "x")
    assert [rule.ref.text for rule in found.config.rules] == [
        "sniffed: {protocol: [bittorrent]}, to: reject",
        "otherwise: direct",
    ]
    assert "rdp" in str(found.notes)


@pytest.mark.parametrize("hostile", ["/*" * 500_000, '"\\"' * 500_000, '{"a": "' + "x" * 900_000])
def test_what_is_never_closed_takes_no_time(hostile: str) -> None:
    with pytest.raises(ConfigError):
        import_text(b'{"outbounds": [' + hostile.encode(), "x")


def test_comments_and_strange_characters_are_read() -> None:
    text = """{ // one
      /* two */ "outbounds": [
	{"type": "http", "tag": "a\\/b", "server": "x", "server_port": 1, "password": "// no /* c",
         "username": "u\\u00e9\\ud83d\\ude00\\\\u0041"},
      ],
    }"""
    outbound = import_text(text.encode(), "x").config.outbounds["a/b"]
    assert outbound.username == "ué😀\\u0041"  # type: ignore[attr-defined]
    assert outbound.password.get_secret_value() == "// no /* c"  # type: ignore[attr-defined]


def test_sections_of_an_outbound_that_are_not_kept_are_told() -> None:
    text = (
        '{"outbounds": [\n{"type": "http", "tag": "a", "server": "192.0.2.1", "server_port": 1,\n'
        '"headers": {"X-Key": "secret"},\n"dialer": {"enabled": false}}]}'
    )

    notes = import_text(text.encode(), "box.json").notes

    assert [(note.line, note.what, note.why) for note in notes] == [(3, "a", "headers is not kept")]


def test_a_trojan_server_and_udp_over_tcp_are_kept(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
    door = {"type": "trojan", "tag": "door", "listen": "0.0.0.0", "listen_port": 443,
            "users": [{"name": "ann", "password": "secret"}],
            "tls": {"enabled": True, "certificate_path": str(tmp_path / "cert.pem"),
                    "key_path": str(tmp_path / "key.pem")}}  # fmt: skip
    way = {"type": "socks", "server": "192.0.2.1", "server_port": 1, "udp_over_tcp": True}
    old = {**way, "udp_over_tcp": {"enabled": True, "version": 1}}
    file = {
        "inbounds": [
            {**door, "fallback": {"server": "127.0.0.1", "server_port": 80}},
            {**door, "tag": "bare", "listen_port": 444},
        ],
        "outbounds": [{**way, "tag": "new"}, {**old, "tag": "old"}],
    }

    found = import_text(json.dumps(file).encode(), "box.json")

    assert list(found.config.inbounds) == ["door"]
    assert [found.config.outbounds[name].udp_over_tcp for name in ("new", "old")] == [True, False]  # type: ignore[attr-defined]
    assert [note.what for note in found.notes] == ["bare", "old"]


def test_a_prefix_may_have_bits_beyond_its_length_and_a_bad_one_goes_alone() -> None:
    prefixes = ["192.0.2.7/24", "192.0.2.7/33", "198.51.100.1"]
    rule = {"ip_cidr": prefixes, "action": "reject"}
    file = {"outbounds": [{"type": "direct", "tag": "d"}], "route": {"rules": [rule]}}

    found = import_text(json.dumps(file).encode(), "box.json")

    assert [way(found, host) for host in ("192.0.2.9", "198.51.100.1", "198.51.100.2")] == [
        "reject", "reject", "direct"
    ]  # fmt: skip
    assert ["/33" in note.why for note in found.notes] == [True]


SETS = [
    {"type": "inline", "tag": "s", "rules": [{"domain": ["a.example"], "ip_cidr": ["10.0.0.0/8"]}]},
    {"type": "inline", "tag": "n", "rules": [
        {"domain_suffix": [".b.example"], "port": [53], "invert": False},
        {"type": "logical", "mode": "and", "rules": [
            {"domain_keyword": "zz"}, {"network": "udp", "invert": True}]},
        {"wifi_ssid": "home"}]},
]  # fmt: skip


def ruled(*rules: Mapping[str, object], **more: object) -> Imported:
    outbounds = [
        {"type": "http", "tag": "p", "server": "192.0.2.1", "server_port": 1},
        {"type": "direct", "tag": "d"},
        {"type": "dns", "tag": "dns-out"},
    ]
    route = {"rules": list(rules), "rule_set": SETS, "final": "p"}
    return import_text(json.dumps({"outbounds": outbounds, "route": route, **more}).encode(), "x")


@pytest.mark.parametrize(
    "asked",
    [{"rule_set": "s"}, {"ip_version": 4}, {"ip_cidr": "10.0.0.0/8"}, {"ip_is_private": True}],
)
def test_no_name_is_resolved_before_a_rule_resolves(asked: dict[str, object]) -> None:
    found = ruled({**asked, "outbound": "d"})

    assert way(found, "b.example") == "p"
    assert way(found, "10.1.1.1") == "direct"
    assert way(found, "a.example") == ("direct" if "rule_set" in asked else "p")


def test_names_are_resolved_for_whom_a_rule_says() -> None:
    found = ruled(
        {"action": "resolve", "domain_suffix": "r.example"},
        {"rule_set": "s", "outbound": "d"},
    )

    assert way(found, "x.r.example") == "lacks address"
    assert way(found, "b.example") == "p"
    assert way(found, "a.example") == "direct"
    door = {"type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": 1}
    rule = {"ip_cidr": "10.0.0.0/8", "outbound": "d"}
    older = ruled(rule, inbounds=[{**door, "domain_strategy": "prefer_ipv4"}])
    assert way(older, "b.example") == "lacks address"
    assert way(ruled(rule, inbounds=[door]), "b.example") == "p"


def test_questions_for_names_neither_make_flows_wait_nor_are_they_rejected() -> None:
    found = ruled({"protocol": "dns", "outbound": "dns-out"}, {"port": 53, "outbound": "dns-out"})

    assert way(found, "9.9.9.9", 53, "udp") == "dns"
    assert [rule.ref.text for rule in found.config.rules] == ["otherwise: p"]
    assert [note.why for note in found.notes if note.what == "a rule"] == []


def test_a_set_may_be_asked_about_the_source() -> None:
    found = ruled(
        {"rule_set": "s", "rule_set_ip_cidr_match_source": True, "outbound": "d"},
        {"source_ip_is_private": True, "source_ip_cidr": ["192.0.2.77/24"], "action": "reject"},
    )
    judge = judge_of(found.config)

    def went(source: str, host: str) -> str:
        flow = Flow(1, Network.TCP, "in", Target.of(source, 5), Target.of(host, 443))
        verdict = judge.decide(flow)
        return verdict.outbound if isinstance(verdict, Via) else type(verdict).__name__

    assert went("10.1.1.1", "8.8.8.8") == went("8.8.8.8", "a.example") == "direct"
    assert went("8.8.8.8", "10.1.1.1") == went("8.8.8.8", "b.example") == "p"
    assert went("172.16.0.1", "8.8.8.8") == went("192.0.2.1", "8.8.8.8") == "Reject"


def test_an_inline_set_understands_what_a_file_does() -> None:
    found = ruled({"rule_set": "n", "outbound": "d"})

    assert way(found, "a.b.example", 53) == way(found, "zz.example") == "direct"
    for at in (("b.example", 53, "tcp"), ("a.b.example", 54, "tcp"), ("zz.example", 1, "udp")):
        assert way(found, *at) == "p"
    assert [(note.what, "wifi_ssid" in note.why) for note in found.notes if note.what == "n"] == [
        ("n", True)
    ]


def named(dns: dict[str, object], **more: object) -> Imported:
    outbounds: list[dict[str, object]] = [
        {"type": "http", "tag": "p", "server": "p.example", "server_port": 1},
        {"type": "direct", "tag": "d"},
    ]
    file = {"outbounds": outbounds, "route": {"final": "p"}, "dns": dns, **more}
    return import_text(json.dumps(file, indent=0).encode(), "x")


def test_a_name_server_is_resolved_by_whom_it_names_wherever_that_stands() -> None:
    found = named({
        "servers": [
            {"tag": "far", "address": "tls://dns.example", "address_resolver": "near",
             "detour": "d"},
            {"tag": "new", "type": "https", "server": "doh.example",
             "domain_resolver": {"server": "near"}},
            {"tag": "near", "address": "192.0.2.53"},
            {"tag": "fake", "address": "fakeip"},
            {"tag": "none", "address": "rcode://success"},
            {"tag": "lost", "address": "tls://x.example", "address_resolver": "fake"},
        ],
        "final": "far",
    })  # fmt: skip
    dns = found.config.dns

    assert dns is not None
    assert [dns.servers[name].bootstrap for name in ("far", "new", "lost")] == [
        "near", "near", "system"
    ]  # fmt: skip
    assert str(dns.servers["near"].address) == "udp://192.0.2.53"
    assert dns.use == ("far",)
    assert sorted((note.what, note.why[:40]) for note in found.notes) == [
        ("lost", "'fake' is not kept: system is used for n"),
    ]


def test_who_resolves_the_names_of_ways_out_is_kept() -> None:
    servers = [
        {"tag": "near", "type": "udp", "server": "192.0.2.53"},
        {"tag": "far", "type": "tls", "server": "192.0.2.1", "detour": "p"},
    ]
    rules = [{"domain": "x.example", "domain_suffix": [".y.example"], "server": "near"}]
    dns: dict[str, object] = {"servers": servers, "rules": rules, "final": "far"}
    route = {"default_domain_resolver": "near", "final": "p"}
    older = [{"outbound": "any", "server": "near"}, *rules]
    for found in (named(dns, route=route), named({**dns, "rules": older})):
        made = found.config.dns
        assert made is not None
        assert [(rule.domain, rule.domain_wildcard, rule.use) for rule in made.rules] == [
            (("p.example",), None, ("near",)),
            (("x.example",), None, ("near",)),
            (None, ("*.y.example",), ("near",)),
        ]
        assert made.servers["far"].bootstrap == "near"
        assert found.config.outbounds["direct"].dns == ("near",)  # type: ignore[attr-defined]
        assert not [note for note in found.notes if "dns" in note.what]


def test_orders_of_addresses_that_are_not_kept_are_told() -> None:
    servers = [{"tag": "near", "address": "192.0.2.53", "strategy": "ipv4_only"}]
    direct = {"type": "direct", "tag": "d", "domain_strategy": "ipv6_only"}
    found = named({"servers": servers, "strategy": "prefer_ipv6"}, outbounds=[direct], route={})

    assert found.config.dns is not None
    assert found.config.dns.addresses == "ipv6-first"
    assert [note.what for note in found.notes] == ["d", "near"]
