"""Share links: read, written back, and never shown with their secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from byway.config.read.links import read_link, write_link
from byway.dialects.card import Out
from byway.dialects.direct import DirectOutbound
from byway.dialects.http import HttpOutbound
from byway.dialects.socks import SocksOutbound
from byway.flow import Target
from byway.values.wrong import Wrong


@pytest.mark.parametrize(
    ("text", "name", "outbound"),
    [
        ("socks5://h", "socks5://h:1080", {"type": "socks", "server": "h:1080"}),
        ("SOCKS5H://h:1/", "socks5h://h:1", {"type": "socks", "server": "h:1"}),
        ("socks4://h", "socks4://h:1080", {"type": "socks", "version": "4", "server": "h:1080"}),
        (
            "socks4a://ann@h",
            "socks4a://h:1080",
            {"type": "socks", "version": "4a", "server": "h:1080", "username": "ann"},
        ),
        ("http://h", "http://h:80", {"type": "http", "server": "h:80"}),
        ("http://[::1]", "http://[::1]:80", {"type": "http", "server": "[::1]:80"}),
        (
            "http://a%3Ab:p%40%2F@h:8080#my%20hop",
            "my hop",
            {"type": "http", "server": "h:8080", "username": "a:b", "password": "p@/"},
        ),
        (
            "socks://YW5uOnNlY3JldA@h:1#x",
            "x",
            {"type": "socks", "server": "h:1", "username": "ann", "password": "secret"},
        ),
        (
            "socks://ann:p@h:1",
            "socks://h:1",
            {"type": "socks", "server": "h:1", "username": "ann", "password": "p"},
        ),
    ],
)
def test_a_link_is_an_outbound(text: str, name: str, outbound: dict[str, str]) -> None:
    link = read_link(text)

    assert link.name == name
    assert link.outbound == outbound


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://u:geheim@h", "unknown kind of link"),
        ("socks5://u:geheim@", "has no host"),
        ("socks5://u:geheim@:80", "has no host"),
        ("socks5://:geheim@h", "a password without a user"),
        ("socks5://u:ge/heim@h", "in its user or password"),
        ("socks5://u:ge#heim@h", "in its user or password"),
        ("socks5://u:ge?heim@h", "in its user or password"),
        ("socks5://u:geheim@h/path", "a path or a query"),
        ("socks5://u:geheim@h?x=1", "a path or a query"),
        ("socks5://u:%ffgeheim@h", "percent-encoding is not UTF-8"),
    ],
)
def test_a_wrong_link_says_why_and_shows_no_secret(text: str, message: str) -> None:
    with pytest.raises(Wrong, match=message) as caught:
        read_link(text)

    assert "heim" not in str(caught.value) + caught.value.hint


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
servers = st.sampled_from(["h:1", "[::1]:8080", "10.0.0.1:65535", "a.b-c.example:80"])


@given(words, words, servers, st.sampled_from(["http", "5", "4", "4a"]))
def test_what_is_written_reads_back(user: str, password: str, server: str, kind: str) -> None:
    secret = SecretStr(password)
    outbound: Out
    if kind == "http":
        outbound = HttpOutbound.model_construct(
            type="http", server=Target.parse(server), username=user, password=secret
        )
    else:
        outbound = SocksOutbound.model_construct(
            type="socks",
            server=Target.parse(server),
            version=kind,
            username=user,
            password=secret if kind == "5" else None,
        )

    read = read_link(write_link(outbound)).outbound

    assert read["server"] == server
    assert read.get("version", "http" if kind == "http" else "5") == kind
    assert read["username"] == user
    assert read.get("password") == (password if kind in ("http", "5") else None)


def test_what_no_link_can_say_is_refused() -> None:
    with pytest.raises(ValueError, match="direct"):
        write_link(DirectOutbound(type="direct"))
    with pytest.raises(ValueError, match="via"):
        write_link(HttpOutbound.model_validate({"type": "http", "server": "h:1", "via": "x"}))


@given(st.text(max_size=60))
def test_any_text_is_a_link_or_wrong(text: str) -> None:
    for scheme in ("", "socks5://", "http://", "socks://"):
        try:
            link = read_link(scheme + text)
        except Wrong:
            continue
        assert link.outbound["server"]
