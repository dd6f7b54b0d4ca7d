"""Subscriptions: links in lines, in base64 of every kind, and whatever else comes."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from byway.config.read.tree import parse
from byway.errors import ConfigError
from byway.importing import import_text
from byway.importing.yaml_text import document, scalar

SS = "ss://" + base64.urlsafe_b64encode(b"aes-256-gcm:pass:word").decode().rstrip("=")
LINES = [
    f"{SS}@one.example:8388#%F0%9F%87%AF%F0%9F%87%B5%20one",
    "trojan://secret@two.example:443?sni=a.example&allowInsecure=1#two",
    "vmess://eyJhZGQiOiJ4In0=",
    "snell://id@x.example:443?type=tcp",
    "socks5://u:p@three.example:1080#two",
    "https://u:p@four.example#four",
    "hy2://x@y:1",
    "REMARKS=a notice",
    "foo://bar",
    "ss://notbase64!!@x:1",
]
KEPT = {"🇯🇵 one", "two", "two-2", "four", "direct"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\n\r\n"])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("form", ["plain", "base64", "url-safe", "bare", "bom"])
def test_a_subscription_is_read_in_every_form(form: str, end: str, wrapped: bool) -> None:
    text = end.join([*LINES, ""])
    data = text.encode()
    if form != "plain":
        data = base64.b64encode(data) if form != "url-safe" else base64.urlsafe_b64encode(data)
        if form == "bare":
            data = data.rstrip(b"=")
        if wrapped:
            data = b"\r\n".join(data[at : at + 76] for at in range(0, len(data), 76)) + b"\n"
        if form == "bom":
            data = b"\xef\xbb\xbf" + data

    found = import_text(data, "sub")

    assert set(found.config.outbounds) == KEPT
    assert found.config.rules[-1].way == "proxies"
    assert found.config.groups["proxies"].members == ("🇯🇵 one", "two", "two-2", "four")
    why = " ".join(note.why for note in found.notes)
    for words in ("VMess", "Snell", "Hysteria 2", "not verified", "not a link", "unknown scheme"):
        assert words in why
    told = str(found.notes)
    assert "secret" not in told
    assert "pass:word" not in told


VMESS = base64.b64encode(json.dumps({"add": "x", "ps": "名 1"}).encode()).decode()
SSR = base64.urlsafe_b64encode(
    b"x:1:origin:aes-256-cfb:plain:cA/?remarks="
    + base64.urlsafe_b64encode("東".encode()).rstrip(b"=")
).decode()


@pytest.mark.parametrize(
    ("link", "what", "why"),
    [
        (f"vmess://{VMESS}", "名 1", "VMess is not supported yet"),
        (f"ssr://{SSR}", "東", "ShadowsocksR is not supported yet"),
        ("snell://id@x:1?type=ws#a%20b", "a b", "Snell is not supported yet"),
        ("hy2://secret@x:1/#c%23", "c#", "Hysteria 2 is not supported yet"),
        ("hy2://pa#secret@x:1", "a hy2:// link", "Hysteria 2 is not supported yet"),
        ("vmess://bm8", "a vmess:// link", "VMess is not supported yet"),
        ("trojan://secret@x:1?security=reality&pbk=k#r", "r", "REALITY is not supported yet"),
        ("trojan://secret@x:1?security=none#n", "n", "trojan without TLS is not supported"),
        ("trojan://secret@x:1?type=grpc#w", "w", "the transport 'grpc' is not supported yet"),
        (f"{SS}@x:1?uot=1#u", "u", "UDP over TCP (uot) is supported in version 2 only: not kept"),
        (f"{SS}@x:1?shadow-tls=e30#s", "s", "shadow-tls is not kept"),
        ("foo://secret@x#f", "f", "has an unknown scheme"),
    ],
)
def test_notes_name_the_node_of_a_link(link: str, what: str, why: str) -> None:
    notes = import_text(f"socks5://h\n{link}\n".encode(), "sub").notes

    assert [(note.line, note.what, note.why) for note in notes] == [(2, what, why)]


def test_a_link_says_udp_over_tcp() -> None:
    outbounds = import_text(
        f"{SS}@x:1?uot=2#a\n{SS}@x:1?uot=0#b\n".encode(), "sub"
    ).config.outbounds
    assert [outbounds[name].udp_over_tcp for name in "ab"] == [True, False]  # type: ignore[attr-defined]


@pytest.mark.parametrize("user", ["Og==", "Og", "Og%3D%3D", ":", ""])
@pytest.mark.parametrize("scheme", ["socks", "socks5"])
def test_no_user_is_no_user(scheme: str, user: str) -> None:
    if scheme == "socks5" and user.startswith("Og"):
        return  # there it is a name
    outbound = import_text(
        f"{scheme}://{user}@host.example:1080#a".encode(), "sub"
    ).config.outbounds["a"]
    assert outbound.username is None  # type: ignore[attr-defined]
    assert outbound.password is None  # type: ignore[attr-defined]


def test_a_file_is_read_in_which_the_group_has_a_name_of_ours() -> None:
    found = import_text(b"socks5://a#proxies\nsocks5://b#proxies\n", "sub").config
    assert set(found.outbounds) == {"proxies", "proxies-2", "direct"}
    assert found.groups["proxies-3"].members == ("proxies", "proxies-2")
    assert found.rules[-1].way == "proxies-3"


def test_one_link_needs_no_group() -> None:
    found = import_text(b"socks5://one.example#a", "sub")
    assert found.config.rules[-1].way == "a"
    assert found.config.groups == {}


def test_an_https_proxy_speaks_tls() -> None:
    found = import_text(b"https://u:p@a.example#x\nhttps://b.example:80#y\n", "sub").config
    assert str(found.outbounds["x"].server) == "a.example:443"  # type: ignore[attr-defined]
    assert found.outbounds["x"].tls is not None  # type: ignore[attr-defined]
    assert str(found.outbounds["y"].server) == "b.example:80"  # type: ignore[attr-defined]


def test_a_sip008_document_is_read() -> None:
    server = {"remarks": "s", "server": "x.example", "server_port": 1, "method": "aes-128-gcm",
              "password": "p"}  # fmt: skip
    found = import_text(json.dumps({"version": 1, "servers": [server, server]}).encode(), "sub")
    assert set(found.config.outbounds) == {"s", "s-2", "direct"}


@pytest.mark.parametrize(
    "data", [b"", b" \n", b"hello", b"\xff\xfe", b"a: b", b"[1, 2]", b"{", b"<html></html>", b"{}"]
)
def test_what_is_nothing_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigError):
        import_text(data, "sub")


def test_a_subscription_of_which_nothing_is_spoken_is_refused() -> None:
    with pytest.raises(ConfigError, match="VMess is not supported yet") as caught:
        import_text(b"vmess://x\nsnell://y\n", "sub")
    assert "nothing that Byway can convert" in str(caught.value)


def test_a_refusal_counts_what_it_is_about() -> None:
    text = "".join(f"snell://id@x:1#n{at}\n" for at in range(4700))
    with pytest.raises(ConfigError) as caught:
        import_text(text.encode(), "sub")
    assert str(caught.value).splitlines() == [
        "sub:1:1: 4700 times: Snell is not supported yet: n0, n1, n2, n3, n4 and 4695 more",
        "sub: contains nothing that Byway can convert",
    ]


@given(st.binary(max_size=300))
@example(b"proxies:\n- \x85")
def test_any_bytes_are_a_config_or_refused(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        import_text(data, "sub")


@given(st.lists(st.sampled_from(LINES) | st.text(max_size=40), max_size=6), st.booleans())
def test_any_lines_are_a_config_or_refused(lines: list[str], packed: bool) -> None:
    data = "\n".join(lines).encode("utf-8", "replace")
    with contextlib.suppress(ConfigError):
        import_text(base64.b64encode(data) if packed else data, "sub")


_KNOWN = """DIRECT REJECT a b G ss http socks5 select relay x.example 10.0.0.0/8 443 0 -1 true
aes-128-gcm AND ((DOMAIN,a),(NETWORK,udp)) DOMAIN,a.example,a IP-CIDR,1.2.3.4/8,G,no-resolve MATCH,G
RULE-SET,s,a inline"""
_WORDS = st.text(max_size=12) | st.sampled_from(_KNOWN.split())
_KNOWN_KEYS = """name type server port cipher password proxies dialer-proxy payload tag server_port
method outbounds detour listen listen_port domain outbound action rule_set tls enabled rules url
path mode use"""
_KEYS = st.sampled_from(_KNOWN_KEYS.split())
_VALUES = st.recursive(
    _WORDS | st.none() | st.integers(-5, 70000) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=10,
)
_CLASH = ["proxies", "proxy-groups", "rules", "rule-providers", "sub-rules", "listeners", "dns"]
_CLASH += ["hosts", "authentication", "mixed-port", "allow-lan", "tunnels", "proxy-providers"]


@given(st.dictionaries(st.sampled_from(_CLASH), _VALUES, max_size=6))
def test_any_clash_file_is_a_sound_config_or_refused(file: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):
        import_text(document({"proxies": [], **file}, {}).encode("utf-8", "replace"), "x")


@given(
    st.dictionaries(st.sampled_from(["inbounds", "outbounds", "route", "dns", "log"]), _VALUES),
)
def test_any_sing_box_file_is_a_sound_config_or_refused(file: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):
        import_text(json.dumps({"outbounds": [], **file}).encode(), "x")


@given(st.text() | st.sampled_from(["0x10", "1e5", "0o7", "~", "yes", "a: b", "- a", "*a", "007"]))
def test_a_text_reads_back_as_itself(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    root, _ = parse(f"a: {scalar(text)}\nb: [{scalar(text)}]\n")
    assert root is not None
    assert root.plain() == {"a": text, "b": [text]}
