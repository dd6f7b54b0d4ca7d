"""ss:// and trojan:// links and SIP008 documents: read, written, and shown without secrets."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.config import (
    from_links,
    load_text,
    read_link,
    write_link,
)
from byway.config.invite import invitations
from byway.dialects.shadowsocks import ShadowsocksInbound, ShadowsocksOutbound
from byway.dialects.shadowsocks.links import read_document
from byway.dialects.trojan import TrojanOutbound
from byway.errors import ConfigError
from byway.values.wrong import Wrong

KEY16 = base64.b64encode(bytes(16)).decode()


def plain(text: str) -> str:
    """As SIP002 wants it."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        (
            "ss://Y2hhY2hhMjAtaWV0Zi1wb2x5MTMwNTpjb3JyZWN0IGhvcnNl@192.0.2.10:8388/?plugin="
            "obfs-local%3Bobfs%3Dhttp%3Bobfs-host%3Dwww.example.com#Node%20A",
            "Node A",
            {
                "server": "192.0.2.10:8388",
                "method": "chacha20-ietf-poly1305",
                "password": "correct horse",
                "plugin": "obfs-local",
                "plugin_opts": "obfs=http;obfs-host=www.example.com",
            },
        ),
        (
            "ss://2022-blake3-aes-128-gcm:AAECAwQFBgcICQoLDA0ODw%3D%3D%3AEBESExQVFhcYGRobHB0eHw%3D%3D"
            "@[2001:db8::10]:8443#two%20level",
            "two level",
            {
                "server": "[2001:db8::10]:8443",
                "method": "2022-blake3-aes-128-gcm",
                "password": "AAECAwQFBgcICQoLDA0ODw==:EBESExQVFhcYGRobHB0eHw==",
            },
        ),
        (
            "ss://" + base64.b64encode(b"aes-256-gcm:p@ss@h.example:1").decode() + "#old",
            "old",
            {"server": "h.example:1", "method": "aes-256-gcm", "password": "p@ss"},
        ),
        (
            "ss://" + base64.b64encode(b"aes-128-gcm:?>?>").decode() + "@h?unknown=1",
            "ss://h:8388",
            {"server": "h:8388", "method": "aes-128-gcm", "password": "?>?>"},
        ),
    ],
)
def test_a_shadowsocks_link(text: str, name: str, found: dict[str, str]) -> None:
    link = read_link(text)
    assert link.name == name
    assert link.outbound == {"type": "shadowsocks", **found}


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        (
            "trojan://p%40ss%20word@t.example.com:443?sni=t.example.com#T1",
            "T1",
            {
                "server": "t.example.com:443",
                "password": "p@ss word",
                "tls": {"sni": "t.example.com"},
            },
        ),
        ("trojan://pw@h", "trojan://h:443", {"server": "h:443", "password": "pw"}),
        (
            "trojan://pw@[::1]:8443?security=tls&peer=a.b&alpn=h2%2Chttp/1.1&fp=chrome"
            "&allowInsecure=1&type=tcp",
            "trojan://[::1]:8443",
            {
                "server": "[::1]:8443",
                "password": "pw",
                "tls": {"sni": "a.b", "alpn": ["h2", "http/1.1"], "insecure": True},
            },
        ),
    ],
)
def test_a_trojan_link(text: str, name: str, found: dict[str, object]) -> None:
    link = read_link(text)
    assert link.name == name
    assert link.outbound == {"type": "trojan", **found}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("chacha20-poly1305", "chacha20-ietf-poly1305"),
        ("AEAD_AES_128_GCM", "aes-128-gcm"),
        ("aes-256-gcm", "aes-256-gcm"),
    ],
)
def test_names_that_others_have_for_methods(name: str, method: str) -> None:
    assert read_link(f"ss://{plain(name + ':x')}@h:1").outbound["method"] == method
    server = {"server": "h", "server_port": 1, "method": name, "password": "x"}
    assert read_document(json.dumps(server))[0][1]["method"] == method


@pytest.mark.parametrize("scheme", ["ss://aes-128-gcm:geheim@", "trojan://geheim@", "socks5://"])
def test_an_address_without_brackets(scheme: str) -> None:
    for server in ("2001:db8::1:443", "::1:443"):
        with pytest.raises(ConfigError, match=r"has no port\n  hint: \["):
            from_links([scheme + server])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ss://geheim", "neither SIP002 nor the old form"),
        ("ss://ge%ffheim:x@h:1", "not UTF-8"),
        ("ss://!geheim!@h:1", "not base64"),
        (f"ss://{plain('geheim')}@h:1", "no method and password"),
        (f"ss://{plain('aes-128-gcm:geheim')}@", "has no host"),
        (f"ss://{plain('aes-128-gcm:geheim')}@h:1/x", "with a path"),
        (f"ss://{plain('aes-128-gcm:geheim')}@h:1?plugin=%2Fbin%2Fsh", "may not start the program"),
        ("ss://geheim:aes-128-gcm@h:1", "method is not known"),
        (f"ss://{plain('geheim:geheim')}@h:1", "method is not known"),
        ("trojan://h:1", "no password"),
        ("trojan://geheim@:1", "has no host"),
        ("trojan://geheim@h:1?type=grpc", "transport 'grpc' is not supported"),
        ("trojan://geheim@h:1?security=none", "without TLS"),
    ],
)
def test_a_wrong_link_shows_no_secret(text: str, message: str) -> None:
    with pytest.raises(Wrong, match=message) as caught:
        read_link(text)
    assert "geheim" not in str(caught.value) + caught.value.hint


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
servers = st.sampled_from(["h:1", "[::1]:8080", "10.0.0.1:65535"])


@given(words, servers, words, st.sampled_from(["aes-128-gcm", "chacha20-ietf-poly1305"]))
def test_shadowsocks_reads_back(password: str, server: str, name: str, method: str) -> None:
    made = ShadowsocksOutbound.model_validate(outbound(method, password, server=server))
    link = read_link(write_link(made, name))
    assert link.name == name
    assert link.outbound == outbound(method, password, server=server)


@given(words, servers)
def test_trojan_reads_back(password: str, server: str) -> None:
    tls = {"sni": "a.example", "alpn": ["h2"], "insecure": True}
    wanted = {"type": "trojan", "server": server, "password": password, "tls": tls}
    made = TrojanOutbound.model_validate(wanted)
    assert read_link(write_link(made)).outbound == wanted


def outbound(method: str, password: str, **more: str) -> dict[str, str]:
    """A mapping as a config has it."""
    return {
        "type": "shadowsocks",
        "server": "h:1",
        "method": method,
        "password": password,
        **more,
    }


class TestDocuments:
    """SIP008."""

    server = {"server": "h", "server_port": 1, "password": "geheim", "method": "aes-128-gcm"}  # noqa: RUF012

    def test_servers(self) -> None:
        six = {**self.server, "server": "::1", "remarks": "six", "plugin": ""}
        obfs = {**self.server, "plugin": "simple-obfs", "plugin_opts": "obfs=tls", "id": "x"}
        found = read_document(json.dumps({"version": 1, "servers": [six, obfs], "bytes_used": 1}))
        assert found == [
            ("six", outbound("aes-128-gcm", "geheim", server="[::1]:1")),
            ("x", outbound("aes-128-gcm", "geheim", plugin="obfs-local", plugin_opts="obfs=tls")),
        ]

    def test_a_config_of_one_server(self) -> None:
        assert read_document(json.dumps(self.server))[0][1]["server"] == "h:1"

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ("{", "not JSON"),
            ("[]", "not a SIP008"),
            ("{}", "no servers"),
            ('{"version": 2, "servers": [1]}', "another version"),
            ('{"servers": [1]}', "a server is a mapping"),
            ('{"servers": [{"server": "h"}]}', "password is missing"),
            (
                '{"server": "h", "password": "geheim", "method": "m", "server_port": "1"}',
                "server_port",
            ),
        ],
    )
    def test_wrong_ones(self, document: str, message: str) -> None:
        with pytest.raises(Wrong, match=message) as caught:
            read_document(document)
        assert "geheim" not in str(caught.value)

    def test_which_server_is_wrong(self, tmp_path: Path) -> None:
        file = tmp_path / "servers.json"
        file.write_text(json.dumps({"servers": [self.server, {"server": "h"}]}))
        with pytest.raises(ConfigError, match=r"link 1: servers\[1\]: password is missing"):
            from_links([str(file)])

    def test_as_a_way_out(self, tmp_path: Path) -> None:
        file = tmp_path / "servers.json"
        first = {**self.server, "remarks": "A, first"}
        file.write_text(json.dumps({"version": 1, "servers": [first, self.server]}))
        config = from_links([str(file)])
        assert set(config.outbounds) == {"A, first", "server-2", "direct"}
        assert config.rules[0].way == "A, first"
        chained = from_links([str(file), "socks5://h:1"])
        assert chained.outbounds[chained.rules[0].way].type == "socks"
        with pytest.raises(ConfigError, match="cannot be read"):
            from_links([str(tmp_path / "none.json")])


INBOUNDS = f"""
inbounds:
  one: {{type: shadowsocks, listen: "0.0.0.0:1", method: aes-128-gcm, password: x}}
  two:
    type: shadowsocks
    listen: "192.0.2.1:2"
    method: 2022-blake3-aes-128-gcm
    password: {KEY16}
    users: [{{name: ann, password: AQEBAQEBAQEBAQEBAQEBAQ==}}]
    plugin: /usr/bin/obfs-server
    plugin_opts: obfs=http;failover=192.0.2.9:80
  ray:
    type: shadowsocks
    listen: "192.0.2.1:3"
    method: aes-128-gcm
    password: x
    plugin: v2ray-plugin
    plugin_opts: server;tls;host=a.example;path=/a\\;b;key=/etc/key.pem
  site:
    type: trojan
    listen: "[::]:443"
    users: {{name: ann, password: p}}
    tls: {{cert: c, key: k, alpn: http/1.1}}
    fallback: "127.0.0.1:80"
  mixed: {{type: mixed, listen: "127.0.0.1:5", users: {{name: ann, password: p}}}}
  unix: {{type: socks, listen: "unix:/x"}}
  chosen: {{type: socks, listen: "127.0.0.1:0"}}
  door: {{type: forward, listen: "127.0.0.1:6", target: "h:1"}}
"""


@pytest.mark.parametrize(
    ("name", "host", "link"),
    [
        ("one", "vps.example", f"ss://{plain('aes-128-gcm:x')}@vps.example:1#one"),
        (
            "two",
            None,
            "ss://2022-blake3-aes-128-gcm:AAAAAAAAAAAAAAAAAAAAAA%3D%3D%3AAQEBAQEBAQEBAQEBAQEBAQ%3D%3D"
            "@192.0.2.1:2/?plugin=obfs-local%3Bobfs%3Dhttp#two-ann",
        ),
        (
            "ray",
            None,
            f"ss://{plain('aes-128-gcm:x')}@192.0.2.1:3/?plugin=v2ray-plugin%3Btls%3Bhost%3D"
            "a.example%3Bpath%3D%2Fa%5C%3Bb#ray",
        ),
        ("site", "2001:db8::1", "trojan://p@[2001:db8::1]:443?alpn=http/1.1#site-ann"),
        ("mixed", None, "socks5://ann:p@127.0.0.1:5#mixed-ann"),
    ],
)
def test_an_invitation(name: str, host: str | None, link: str) -> None:
    found = invitations(name, load_text(INBOUNDS).inbounds[name], host)
    assert [text for _, text in found] == [link]
    assert read_link(link).outbound["type"]


def test_a_link_names_a_plugin_without_its_place() -> None:
    text = (
        "{type: shadowsocks, server: 'h:1', method: aes-128-gcm, password: x, plugin: /bin/kcptun}"
    )
    outbound = load_text(f"outbounds: {{far: {text}}}").outbounds["far"]
    assert read_link(write_link(outbound)).outbound["plugin"] == "kcptun"


@pytest.mark.parametrize("host", ["vps.example:99", "https://x", ""])
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(ValueError, match="--host is a name or an address"):
        invitations("one", load_text(INBOUNDS).inbounds["one"], host)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one", "--host"),
        ("unix", "unix socket"),
        ("chosen", "changes at each start"),
        ("door", "no link"),
    ],
)
def test_nobody_can_be_invited(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        invitations(name, load_text(INBOUNDS).inbounds[name], None)


SS = "{type: shadowsocks, %s}"


@pytest.mark.parametrize(
    ("section", "text", "key", "message"),
    [
        ("outbounds", "server: h:1, method: rc4-md5, password: x", "method", "stream cipher"),
        ("outbounds", "server: h:1, method: aes-128-gmc, password: x", "method", "aes-128-gcm?"),
        (
            "outbounds",
            "server: h:1, method: 2022-blake3-aes-128-gcm, password: geheim",
            "password",
            "16 random bytes in base64",
        ),
        (
            "outbounds",
            "server: h:1, method: aes-128-gcm, password: x, plugin_opts: a=b",
            "plugin_opts",
            "without a plugin",
        ),
        (
            "outbounds",
            "server: h:1, method: aes-128-gcm, password: x, plugin: p, via: direct",
            "via",
            "plugin cannot use via",
        ),
        ("outbounds", "server: h:1, method: aes-128-gcm, password: x, tsl: {}", "tsl", "unknown"),
        (
            "inbounds",
            "listen: '0.0.0.0:1', method: aes-128-gcm, password: x,"
            " users: [{name: a, password: x}]",
            "users",
            "one user",
        ),
        (
            "inbounds",
            f"listen: '0.0.0.0:1', method: 2022-blake3-aes-128-gcm, password: {KEY16},"
            f" users: [{{name: a, password: {KEY16}}}, {{name: b, password: {KEY16}}}]",
            "users[1].password",
            "another user has this password",
        ),
        (
            "inbounds",
            f"listen: '0.0.0.0:1', method: 2022-blake3-aes-128-gcm, password: '{KEY16}:{KEY16}'",
            "password",
            "expected two keys",
        ),
        (
            "outbounds",
            "server: h:1, method: aes-128-gcm, password: x, network: sctp",
            "network",
            "tcp",
        ),
        (
            "outbounds",
            "server: h:1, method: aes-128-gcm, password: x, plugin: p, network: udp",
            "network",
            "plugins support only TCP",
        ),
        (
            "inbounds",
            f"listen: '0.0.0.0:1', method: 2022-blake3-aes-128-gcm, password: {KEY16},"
            f" users: [{{name: a, password: {KEY16}, relay: nowhere}}]",
            "users[0].relay",
            "port",
        ),
        (
            "inbounds",
            "listen: ['127.0.0.1:1', '127.0.0.1:2'], method: aes-128-gcm, password: x, plugin: p",
            "listen",
            "one address",
        ),
    ],
)
def test_what_does_not_fit(section: str, text: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"{section}: {{a: {SS % text}}}")
    (problem,) = caught.value.problems
    assert problem.key == f"{section}.a.{key}"
    assert message in f"{problem.message} {problem.hint}"
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("tls", "key", "message"),
    [
        ("{sni: 192.0.2.1}", "sni", "an address, not a name"),
        ("{pin: abc}", "pin", "not a SHA-256"),
        ("{cert: a}", "cert", "cert without key"),
        ("{insecure: true, ca: a}", "ca", "exclude each other"),
        ("{serial: 1}", "serial", "unknown key"),
        ("{sni: }", "sni", "has no value"),
        ("{alpn: ''}", "alpn", "1 to 255 bytes"),
    ],
)
def test_tls_that_is_none(tls: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"outbounds: {{a: {{type: trojan, server: h:1, password: x, tls: {tls}}}}}")
    (problem,) = caught.value.problems
    assert problem.key == f"outbounds.a.tls.{key}"
    assert message in f"{problem.message} {problem.hint}"


def test_a_key_out_of_the_manual_is_odd() -> None:
    text = (
        "inbounds: {vps: {type: shadowsocks, listen: '127.0.0.1:1',"
        " method: 2022-blake3-aes-128-gcm, password: %s}}"
    )
    [odd] = load_text(text % "AAECAwQFBgcICQoLDA0ODw==").warnings
    assert odd.key == "inbounds.vps.password"
    assert "it is public" in odd.message
    assert not load_text(text % KEY16).warnings


def test_trust_in_anyone_is_odd() -> None:
    text = "outbounds: {a: 'trojan://x@h:1?allowInsecure=1'}\nrules: [{otherwise: a}]"
    (warning,) = load_text(text).warnings
    assert "read and change" in warning.message


@given(st.text(max_size=60))
def test_any_text_is_a_link_or_wrong(text: str) -> None:
    for scheme in ("ss://", "trojan://"):
        try:
            link = read_link(scheme + text)
        except Wrong:
            continue
        assert link.outbound["server"]


SEALED = "method: aes-128-gcm, password: x"


@pytest.mark.parametrize(
    ("more", "networks"),
    [
        ("", {"tcp", "udp"}),
        (", network: udp", {"udp"}),
        (", network: [tcp, udp], plugin: p", {"tcp", "udp"}),
        (", plugin: p", {"tcp"}),
    ],
)
def test_which_networks(more: str, networks: set[str]) -> None:
    config = load_text(
        f"inbounds: {{a: {{type: shadowsocks, listen: '127.0.0.1:1', {SEALED}{more}}}}}\n"
        f"outbounds: {{b: {{type: shadowsocks, server: 'h:1', {SEALED}{more}}}}}\n"
    )
    for section in (config.inbounds["a"], config.outbounds["b"]):
        assert isinstance(section, ShadowsocksInbound | ShadowsocksOutbound)
        assert {network.value for network in section.networks} == networks


def test_packets_take_the_port_too() -> None:
    door = "{type: forward, listen: '127.0.0.1:1', target: 'h:1', network: udp}"
    sealed = SS % f"listen: '127.0.0.1:1', {SEALED}"
    text = f"inbounds: {{a: {sealed}, b: {door}}}"
    with pytest.raises(ConfigError, match="already in use"):
        load_text(text)
    load_text(text.replace("password: x", "password: x, network: tcp"))
