"""What leads back to a listener of the same config, and what only looks so."""

from __future__ import annotations

import base64
import textwrap

import pytest

from byway.config import load_text
from byway.errors import ConfigError

MIXED = "inbounds: {home: {type: mixed, listen: '127.0.0.1:1080'}}\n"
WIDE = "inbounds: {home: {type: mixed, open: true, listen: ['0.0.0.0:1080', '[::]:1080']}}\n"
KEYS = [base64.b64encode(bytes([seed]) * 16).decode() for seed in (1, 2)]
SEALED = f"type: shadowsocks, method: 2022-blake3-aes-128-gcm, password: '{KEYS[0]}'"


def errors(text: str) -> str:
    try:
        load_text(textwrap.dedent(text))
    except ConfigError as error:
        return str(error)
    return ""


def forward(listen: str, target: str, more: str = "") -> str:
    return f"{{type: forward, listen: '{listen}', target: '{target}'{more}}}"


@pytest.mark.parametrize(
    ("inbounds", "server"),
    [
        (MIXED, "127.0.0.1:1080"),
        (MIXED, "localhost:1080"),
        (MIXED, "LOCALHOST.:1080"),
        (MIXED, "here.localhost:1080"),
        (MIXED, "0.0.0.0:1080"),
        (WIDE, "127.0.0.1:1080"),
        (WIDE, "127.9.9.9:1080"),
        (WIDE, "0.0.0.0:1080"),
        (WIDE, "[::1]:1080"),
        (WIDE, "[::]:1080"),
        (WIDE, "[::ffff:127.0.0.1]:1080"),
        (WIDE, "localhost:1080"),
        (MIXED.replace("127.0.0.1", "[::1]"), "localhost:1080"),
    ],
)
@pytest.mark.parametrize("kind", ["socks", "http"])
def test_a_server_that_is_this_config(inbounds: str, server: str, kind: str) -> None:
    told = errors(inbounds + f"outbounds: {{out: {{type: {kind}, server: '{server}'}}}}\n")
    assert "is where the inbound 'home' listens" in told or 'inbound "home" listens' in told
    assert "outbounds.out.server" in told


@pytest.mark.parametrize(
    ("inbounds", "server"),
    [
        (MIXED, "127.0.0.1:1081"),
        (MIXED, "127.0.0.2:1080"),
        (MIXED, "[::1]:1080"),
        (MIXED, "proxy.example:1080"),
        (WIDE, "192.0.2.1:1080"),
        ("inbounds: {home: {type: mixed, listen: '127.0.0.1:0'}}\n", "127.0.0.1:1080"),
        ("inbounds: {home: {type: mixed, listen: 'unix:/run/1080'}}\n", "127.0.0.1:1080"),
        (
            "inbounds: {home: "
            + forward("127.0.0.1:1080", "192.0.2.1:53", ", network: udp")
            + "}\n",
            "127.0.0.1:1080",
        ),
    ],
)
def test_a_server_elsewhere(inbounds: str, server: str) -> None:
    assert errors(inbounds + f"outbounds: {{out: {{type: socks, server: '{server}'}}}}\n") == ""


def test_a_chain_leads_back_only_from_here() -> None:
    back = "back: {type: socks, server: '127.0.0.1:1080', via: %s}"
    vps = "vps: {type: socks, server: 'vps.example:1080'}"
    wire = "wire: {type: direct, mark: 7}"
    assert errors(MIXED + f"outbounds: {{{vps}, {back % 'vps'}}}\n") == ""
    assert "listens" in errors(MIXED + f"outbounds: {{{wire}, {back % 'wire'}}}\n")
    groups = "groups: {some: {type: fallback, members: [vps, %s]}}\n"
    there = MIXED + f"outbounds: {{{vps}, {wire}, {back % 'some'}}}\n"
    assert "listens" in errors(there + groups % "direct")
    assert errors(there.replace("wire:", "w:") + (groups % "other").replace(", other", "")) == ""
    far = "far: {type: http, server: 'a.example:1', via: back}"
    deep = f"outbounds: {{{back % 'direct'}, {far}}}"
    assert errors(MIXED + deep).count("listens") == 1


def test_packets() -> None:
    udp = "inbounds: {home: " + forward("127.0.0.1:8388", "192.0.2.1:53", ", network: udp") + "}\n"
    out = "outbounds: {out: {%s, server: '127.0.0.1:8388'%s}}\n"
    assert "listens" in errors(udp + out % (SEALED, ""))
    assert "listens" in errors(udp + out % (SEALED, ", network: udp"))
    assert errors(udp + out % (SEALED, ", network: tcp")) == ""
    assert "listens" in errors(
        udp.replace("udp}", "[tcp, udp]}") + out % (SEALED, ", network: tcp")
    )


def test_hosts_of_the_config() -> None:
    text = MIXED + "outbounds: {out: {type: socks, server: 'me.example:1080'}}\n"
    assert errors(text) == ""
    assert "listens" in errors(text + "dns: {hosts: {me.example: 127.0.0.1}}\n")


@pytest.mark.parametrize("network", ["tcp", "udp", "[tcp, udp]"])
@pytest.mark.parametrize("target", ["127.0.0.1:5353", "localhost:5353"])
def test_a_forward_to_itself(network: str, target: str) -> None:
    own = forward("127.0.0.1:5353", target, f", network: {network}")
    assert "leads back" in errors(f"inbounds: {{f: {own}}}\n")


def test_forwards_in_a_circle() -> None:
    one, two = forward("127.0.0.1:1", "127.0.0.1:2"), forward("127.0.0.1:2", "127.0.0.1:1")
    assert errors(f"inbounds: {{a: {one}, b: {two}}}\n").count("leads back") == 2
    assert errors(f"inbounds: {{a: {one}, b: {two.replace(':1', ':3')}}}\n") == ""
    udp = two.replace("}", ", network: udp}")
    assert errors(f"inbounds: {{a: {one}, b: {udp}}}\n") == ""
    mixed = "{type: mixed, listen: '127.0.0.1:2'}"
    assert errors(f"inbounds: {{a: {one}, b: {mixed}}}\n") == ""


def test_a_forward_by_a_proxy_leads_to_that_proxys_own() -> None:
    text = (
        f"inbounds: {{f: {forward('127.0.0.1:80', '127.0.0.1:80')}}}\n"
        "outbounds: {vps: {type: socks, server: 'vps.example:1080'}}\n"
    )
    assert errors(text + "rules: [{otherwise: vps}]\n") == ""
    assert errors(text + "rules: [{otherwise: reject}]\n") == ""
    assert errors(text + "rules: [{inbound: f, to: vps}, {otherwise: direct}]\n") == ""
    assert "leads back" in errors(text + "rules: [{private: true, to: direct}, {otherwise: vps}]\n")
    assert "leads back" in errors(text + "rules: [{otherwise: direct}]\n")
    unsure = text + "sets: {s: {items: [a.example]}}\n"
    unsure += "rules: [{set: s, to: direct}, {otherwise: vps}]\n"
    assert errors(unsure) == ""
    assert "leads back" in load_text(unsure).warnings[-1].message


def test_a_web_site_and_a_relay_that_are_this_listener() -> None:
    trojan = (
        "inbounds: {t: {type: trojan, listen: '127.0.0.1:443', users: [{name: a, password: b}],"
        " tls: {cert: /c, key: /k}, fallback: '127.0.0.1:%s'}}\nrules: [{otherwise: reject}]\n"
    )
    assert "leads back" in errors(trojan % 443)
    assert errors(trojan % 80) == ""
    relay = (
        f"inbounds: {{s: {{{SEALED}, listen: '127.0.0.1:8388', users: "
        f"[{{name: a, password: '{KEYS[1]}', relay: '127.0.0.1:%s'}}]}}}}\n"
    )
    assert "leads back" in errors(relay % 8388)
    assert errors(relay % 8389) == ""
