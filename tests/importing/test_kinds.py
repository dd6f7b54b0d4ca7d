"""Refusals name what a file is."""

from __future__ import annotations

import json

import pytest

from byway.errors import ConfigError
from byway.importing import import_text

SURGE = """#!MANAGED-CONFIG https://x.example/surge interval=86400
[General]
loglevel = notify

[Proxy]
HK = ss, h.example, 8388, encrypt-method=aes-128-gcm, password=secret-word

[Proxy Group]
G = select, HK, DIRECT

[Rule]
DOMAIN-SUFFIX,example.com,G
FINAL,DIRECT
"""
QUANTUMULT = """[general]
server_check_url=http://www.example.com/
[server_local]
shadowsocks=h.example:8388, method=aes-128-gcm, password=secret-word, tag=a
[server_remote]
https://x.example/sub, tag=sub, enabled=true
[filter_remote]
https://x.example/list, tag=l
"""
LOON = """[General]
ip-mode = dual
[Proxy]
HK = Shadowsocks,h.example,8388,aes-128-gcm,"secret-word"
[Remote Proxy]
sub = https://x.example/sub
[Remote Filter]
[Rule]
FINAL,DIRECT
"""
OLD_QUANTUMULT = "[SERVER]\na\n[POLICY]\nb\n[TCP]\nFINAL,DIRECT\n"
XRAY = {
    "log": {"loglevel": "warning"},
    "inbounds": [{"port": 1080, "protocol": "socks"}],
    "outbounds": [{"protocol": "vmess", "settings": {"vnext": [{"address": "secret-word"}]}}],
    "dns": {"servers": ["1.1.1.1"]},
}
V2RAY = {"inbound": {"port": 1}, "outbound": {"protocol": "vmess"}}
SOURCE = {"version": 2, "rules": [{"domain_suffix": ["a.example"]}]}
BYWAY = "inbounds: {in: {type: mixed, listen: '127.0.0.1:1'}}\nrules: [{otherwise: direct}]\n"
OVPN = "client\ndev tun\nremote vpn.example 1194\n"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (SURGE, "Surge"),
        (QUANTUMULT, "Quantumult X"),
        (OLD_QUANTUMULT, "a config of Quantumult"),
        (LOON, "Loon"),
        ("[Interface]\nPrivateKey = secret-word\n[Peer]\nEndpoint = x:1\n", "WireGuard"),
        ("; mine\n[common]\nserver_addr = x\n", "an ini or TOML file"),
        ("name = 'x'\n[common]\nserver_addr = 'x'\n", "an ini or TOML file"),
        (OVPN, "OpenVPN"),
        (json.dumps(XRAY), "V2Ray or Xray"),
        (json.dumps(XRAY, indent=1), "V2Ray or Xray"),
        (json.dumps([XRAY, XRAY]), "V2Ray or Xray"),
        (json.dumps(V2RAY), "V2Ray or Xray"),
        ('{"routing": {"rules": []}, "outbounds": []}', "V2Ray or Xray"),
        ("payload:\n- DOMAIN,a.example\n- '+.b.example'\n", "a rule provider of Clash"),
        ("payload:\n  - '+.a.example'\n", "a rule provider of Clash"),
        ("DOMAIN-SUFFIX,a.example\nIP-CIDR,10.0.0.0/8,no-resolve\n", "a list of rules"),
        ("||ads.example^\n||b.example^\n", "a block list"),
        ("0.0.0.0 ads.example\n0.0.0.0 b.example\n", "a hosts file"),
        (json.dumps(SOURCE), "a rule set of sing-box"),
        ('{"run_type": "client", "password": ["secret-word"]}', "a config of trojan"),
        ("server: x.example:443\nauth: secret-word\n", "a config of Hysteria"),
        (BYWAY, "a config of Byway"),
        ("<!DOCTYPE html><html></html>", "a web page"),
        ("\ufeff<html>", "a web page"),
    ],
)
def test_a_refusal_names_what_the_text_is(data: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        import_text(data.encode(), "file")

    assert what in str(caught.value)
    assert "Clash or mihomo YAML" in str(caught.value)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x1f\x8b\x08\0\0", "a gzip file"),
        (b"PK\x03\x04", "a zip file"),
        (b"\x7fELF\x02\x01", "a program"),
        (b"\x89PNG\r\n", "a picture"),
        (b"SRS\x01\0", "srs"),
        (b"\x28\xb5\x2f\xfd\x04", "mrs"),
        (b"x" * 99 + b"\xab\xcd\xefMaxMind.com", "mmdb"),
        ("proxies: []".encode("utf-16"), "UTF-16"),
        (b"\n\x08\n\x02CN\0\0", "a binary file"),
        (b"proxies: [\xff]", "not UTF-8"),
    ],
)
def test_a_refusal_names_what_is_no_text(data: bytes, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        import_text(data, "file")


@pytest.mark.parametrize(
    "data",
    [
        "# [Proxy]\nproxies:\n- {name: a, type: http, server: x, port: 1}\nx:\n  [Rule]\n",
        "socks5://x.example#a\n[Proxy]\n",
        '{"version": 1, "outbounds": [{"type": "direct", "tag": "d"}], "route": {"final": "x"},'
        '"inbounds": [{"type": "mixed", "listen_port": 1}]}',
        '{"outbounds": [{"type": "http", "tag": "d", "server": "x", "server_port": 1}]}',
        "rules: ['MATCH,DIRECT']\nport: 1\n",
    ],
)
def test_what_is_read_is_not_taken_for_another_thing(data: str) -> None:
    assert import_text(data.encode(), "file").config


def test_a_config_that_is_torn_is_no_list() -> None:
    with pytest.raises(ConfigError, match="a tab in the indent"):
        import_text(b"proxies:\n\t- a\n", "x")
