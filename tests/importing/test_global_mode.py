"""What other programs take by a virtual NIC, and how: each key is ours, or has a note."""

from __future__ import annotations

import json
from typing import cast

import yaml

from byway.importing import Imported, import_text

MIHOMO = """\
mixed-port: 7890
allow-lan: false
mode: rule
find-process-mode: strict
tun:
  enable: true
  stack: mixed
  device: utun7
  auto-route: true
  auto-redirect: true
  auto-detect-interface: true
  strict-route: true
  mtu: 9000
  gso: true
  endpoint-independent-nat: true
  dns-hijack: ["any:53", "tcp://any:53"]
  route-address: [0.0.0.0/1, 128.0.0.0/1, "::/1", "8000::/1"]
  route-exclude-address: [192.168.0.0/16, fc00::/7]
  exclude-uid: [1001]
  exclude-uid-range: ["2000:2999"]
  exclude-package: [com.example.bank]
proxies: [{name: p, type: socks5, server: 192.0.2.9, port: 1080}]
rules: ["DOMAIN-SUFFIX,example.org,p", "MATCH,DIRECT"]
"""


def made(text: str) -> Imported:
    return import_text(text.encode(), "theirs.yaml")


def content(found: Imported, name: str) -> dict[str, object]:
    """The inbound as it is written."""
    return cast("dict[str, object]", yaml.safe_load(found.text)["inbounds"][name])


def notes(found: Imported) -> list[tuple[int, str]]:
    return [(note.line, note.why.split(":")[0].split(" is ")[0]) for note in found.notes]


def test_a_virtual_nic_of_mihomo_takes_all_flows_here() -> None:
    found = made(MIHOMO)

    assert content(found, "tun") == {
        "type": "tun",
        "name": "utun7",
        "mtu": 9000,
        "auto_route": True,
        "exclude": ["192.168.0.0/16", "fc00::/7"],
        "exclude_uid": [1001],
    }
    lines = MIHOMO.splitlines()
    said = {(lines[line - 1].split(":")[0].strip(), why) for line, why in notes(found)}
    assert said == {
        ("enable", "takes all flows of this host (auto_route), as root; forwarded ones by lan"),
        ("find-process-mode", "processes are found when a rule needs them"),
        ("strict-route", "strict-route"),
        ("exclude-uid-range", "exclude-uid-range"),
        ("exclude-package", "exclude-package"),
    }


def test_some_targets_alone_are_kept() -> None:
    found = made(MIHOMO.replace("[0.0.0.0/1, 128.0.0.0/1,", "[203.0.113.0/24,"))

    assert content(found, "tun")["routes"] == ["203.0.113.0/24", "::/1", "8000::/1"]


def test_flows_from_some_links_alone_are_those_of_a_gateway() -> None:
    found = made(MIHOMO.replace("exclude-uid: [1001]", "include-interface: [eth1]"))

    assert content(found, "tun")["lan"] == ["eth1"]
    assert "auto_route" not in content(found, "tun")


def test_a_disabled_nic_is_no_inbound() -> None:
    found = made("mixed-port: 7890\ntun: {enable: false, auto-route: true}\n")

    assert (list(found.config.inbounds), found.notes) == (["mixed"], ())


def test_a_nic_without_routes_has_none_here() -> None:
    found = made("mixed-port: 7890\ntun: {enable: true, auto-route: false, strict-route: true}\n")

    assert content(found, "tun") == {"type": "tun"}
    assert [note.why for note in found.notes] == [
        "without auto-route, routes to it are yours to set up"
    ]


def test_a_nic_may_be_a_listener_with_a_way_of_its_own() -> None:
    found = made("""\
proxies: [{name: p, type: socks5, server: 192.0.2.9, port: 1080}]
listeners: [{name: nic, type: tun, stack: gvisor, inet4-address: [198.19.0.1/30], proxy: p}]
rules: ["MATCH,DIRECT"]
""")

    assert content(found, "nic") == {
        "type": "tun",
        "addresses": ["198.19.0.1/30", "fd62:7977:6179::1/126"],
        "auto_route": True,
    }
    (rule, _) = found.config.rules
    assert (rule.inbound, rule.way) == (("nic",), "p")


def test_a_virtual_nic_of_sing_box_takes_all_flows_here() -> None:
    inbound = {
        "type": "tun", "tag": "tun-in", "interface_name": "tun0", "stack": "system", "mtu": 9000,
        "address": ["172.18.0.1/30", "fdfe:dcba:9876::1/126"], "auto_route": True,
        "auto_redirect": True, "strict_route": False, "route_exclude_address": ["10.0.0.0/8"],
        "exclude_uid": [0, 33], "route_exclude_address_set": ["geoip-cn"],
    }  # fmt: skip
    file = {"inbounds": [inbound], "outbounds": [{"type": "direct", "tag": "d"}]}

    found = import_text(json.dumps(file, indent=1).encode(), "theirs.json")

    assert content(found, "tun-in") == {
        "type": "tun", "name": "tun0", "mtu": 9000, "auto_route": True,
        "addresses": ["172.18.0.1/30", "fdfe:dcba:9876::1/126"],
        "exclude": ["10.0.0.0/8"], "exclude_uid": [0, 33],
    }  # fmt: skip
    assert {why for _, why in notes(found)} == {
        "takes all flows of this host (auto_route), as root; forwarded ones by lan",
        "route_exclude_address_set",
    }


def test_a_family_without_an_address_gets_one_or_it_would_go_past() -> None:
    nic = {"type": "tun", "tag": "tun-in", "inet4_address": "172.18.0.1/30", "auto_route": True}

    found = import_text(json.dumps({"inbounds": [nic]}).encode(), "theirs.json")

    assert content(found, "tun-in")["addresses"] == ["172.18.0.1/30", "fd62:7977:6179::1/126"]


NAMES = """\
mixed-port: 7890
ipv6: true
tun: {enable: true, auto-route: true, dns-hijack: ["any:53"]}
sniffer:
  enable: true
  force-dns-mapping: true
  parse-pure-ip: true
  sniff: {TLS: {ports: [443, 8443]}, HTTP: {ports: [80, 8080-8880]}, QUIC: {ports: [443]}}
  skip-domain: ["+.push.example"]
hosts: {router.lan: 192.168.1.1}
dns:
  enable: true
  listen: 0.0.0.0:1053
  ipv6: true
  enhanced-mode: fake-ip
  fake-ip-range: 198.18.0.1/16
  fake-ip-ttl: 5
  fake-ip-filter: ["*", "*.lan", "+.ntp.example", "time.example", "rule-set:near", "geosite:cn"]
  default-nameserver: [192.0.2.53]
  proxy-server-nameserver: ["https://192.0.2.53/dns-query"]
  nameserver: ["https://doh.example/dns-query", "tls://192.0.2.54:853"]
  fallback: ["tls://198.51.100.1"]
  fallback-filter: {geoip: true, ipcidr: [240.0.0.0/4], domain: ["+.walled.example"]}
  nameserver-policy:
    "+.corp.example": [10.0.0.53]
    "ads.example": "rcode://name_error"
    "rule-set:near": system
proxies: [{name: p, type: socks5, server: p.example, port: 1080}]
rule-providers:
  near: {type: inline, behavior: domain, payload: ["+.near.example"]}
rules: ["MATCH,p"]
"""


def dns(found: Imported) -> dict[str, object]:
    return cast("dict[str, object]", yaml.safe_load(found.text)["dns"])


def test_names_of_mihomo() -> None:
    found = made(NAMES)
    section = dns(found)

    assert section["hijack"] is True
    assert section["hosts"] == {"router.lan": ["192.168.1.1"]}
    assert section["fake_ip"] == {
        "ranges": ["198.18.0.0/16"],
        "ttl": "5s",
        "exclude": ["*.lan", "ntp.example", "*.ntp.example", "time.example", "set:near"],
    }
    assert section["rules"] == [
        {"domain": ["p.example"], "use": ["dns-1"]},
        {"domain_suffix": ["corp.example"], "use": ["dns-4"]},
        {"domain": ["ads.example"], "answer": "nxdomain"},
        {"set": ["near"], "use": ["system"]},
        {"domain_suffix": ["walled.example"], "use": ["dns-5"]},
    ]
    assert section["use"] == ["dns-2", "dns-3"]
    assert content(found, "dns") == {"type": "dns", "listen": "0.0.0.0:1053", "open": True}
    assert yaml.safe_load(found.text)["names"] == {"sniffed": "dial"}
    whats = {(note.line, note.what) for note in found.notes}
    lines = NAMES.splitlines()
    assert {(lines[line - 1].split(":")[0].strip(), what) for line, what in whats} == {
        ("tun", "tun"),
        ("sniff", "sniffer.sniff"),
        ("skip-domain", "sniffer.skip-domain"),
        ("listen", "dns"),
        ("fake-ip-filter", "geosite:cn"),
        ("fallback", "dns.fallback"),
        ("fallback-filter", "dns.fallback-filter"),
    }


def test_names_that_alone_are_faked() -> None:
    found = made(NAMES.replace("  fake-ip-ttl: 5", "  fake-ip-filter-mode: whitelist"))
    section = dns(found)

    fake = section["fake_ip"]
    assert isinstance(fake, dict)
    assert fake["everywhere"] is False
    rules = section["rules"]
    assert isinstance(rules, list)
    assert rules[:3] == [
        {"domain_wildcard": ["*.lan"], "answer": "fake"},
        {"domain": ["ntp.example"], "answer": "fake"},
        {"domain_wildcard": ["*.ntp.example"], "answer": "fake"},
    ]


def test_sniffed_names_that_rules_alone_see() -> None:
    text = NAMES.replace("  force-dns-mapping: true", "  override-destination: false")

    assert yaml.safe_load(made(text).text)["names"] == {"sniffed": "judge"}


SING_BOX = {
    "dns": {
        "servers": [
            {"tag": "far", "type": "https", "server": "192.0.2.53", "detour": "p"},
            {"tag": "near", "type": "local"},
            {"tag": "fake", "type": "fakeip", "inet4_range": "198.18.0.0/15",
             "inet6_range": "fc00::/18"},
            {"tag": "fixed", "type": "hosts", "predefined": {"nas.example": ["192.168.1.5"]}},
        ],
        "rules": [
            {"ip_accept_any": True, "server": "fixed"},
            {"domain_suffix": ["ads.example"], "action": "reject"},
            {"domain": ["gone.example"], "action": "predefined", "rcode": "NXDOMAIN"},
            {"domain": ["me.example"], "action": "predefined",
             "answer": ["me.example. IN A 192.0.2.1"]},
            {"query_type": ["HTTPS", 64], "action": "predefined"},
            {"inbound": ["tun-in"], "domain_suffix": ["home.example"], "server": "near"},
            {"query_type": ["A", "AAAA"], "server": "fake"},
            {"clash_mode": "global", "server": "far"},
        ],
        "final": "far",
    },
    "inbounds": [
        {"type": "tun", "tag": "tun-in", "address": ["172.18.0.1/30"], "auto_route": True}
    ],
    "outbounds": [
        {"type": "socks", "tag": "p", "server": "192.0.2.9", "server_port": 1080},
        {"type": "direct", "tag": "d"},
    ],
    "route": {
        "rules": [
            {"action": "sniff", "timeout": "300ms"},
            {"type": "logical", "mode": "or", "rules": [{"protocol": "dns"}, {"port": 53}],
             "action": "hijack-dns"},
            {"domain_suffix": ["example.org"], "outbound": "p"},
        ],
        "final": "d",
    },
}  # fmt: skip


def test_names_of_sing_box() -> None:
    found = import_text(json.dumps(SING_BOX, indent=1).encode(), "theirs.json")
    section = dns(found)

    assert section["hijack"] is True
    assert section["hosts"] == {"nas.example": ["192.168.1.5"]}
    assert section["fake_ip"] == {"ranges": ["198.18.0.0/15", "fc00::/18"], "everywhere": False}
    assert section["rules"] == [
        {"domain_suffix": ["ads.example"], "answer": "refuse"},
        {"domain": ["gone.example"], "answer": "nxdomain"},
        {"domain": ["me.example"], "answer": ["192.0.2.1"]},
        {"query_type": ["HTTPS", 64], "answer": "empty"},
        {"domain_suffix": ["home.example"], "inbound": ["tun-in"], "use": "system"},
        {"query_type": ["A", "AAAA"], "answer": "fake"},
    ]
    assert yaml.safe_load(found.text)["names"] == {"sniffed": "judge"}
    assert [note.why for note in found.notes if note.what != "tun-in"] == ["has no equivalent"]


def test_names_of_sing_box_in_the_old_form() -> None:
    file = {
        "dns": {
            "servers": [
                {"tag": "far", "address": "tls://192.0.2.53"},
                {"tag": "fakes", "address": "fakeip"},
                {"tag": "block", "address": "rcode://refused"},
            ],
            "rules": [
                {"domain": ["ads.example"], "server": "block"},
                {"query_type": ["A", "AAAA"], "server": "fakes"},
            ],
            "fakeip": {"enabled": True, "inet4_range": "198.18.0.0/15"},
        },
        "inbounds": [
            {"type": "mixed", "listen": "127.0.0.1", "listen_port": 2080, "sniff": True,
             "sniff_override_destination": True}
        ],
        "outbounds": [{"type": "direct", "tag": "d"}, {"type": "dns", "tag": "dns-out"}],
        "route": {"rules": [{"protocol": "dns", "outbound": "dns-out"}]},
    }  # fmt: skip
    found = import_text(json.dumps(file).encode(), "theirs.json")
    section = dns(found)

    assert section["hijack"] is True
    assert section["fake_ip"] == {"ranges": ["198.18.0.0/15"], "everywhere": False}
    assert section["rules"] == [
        {"domain": ["ads.example"], "answer": "refuse"},
        {"query_type": ["A", "AAAA"], "answer": "fake"},
    ]
    assert yaml.safe_load(found.text)["names"] == {"sniffed": "dial"}
    assert found.notes == ()
