"""A protocol is added by a card and a wire file alone: shown with one that nobody else knows."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from byway.config import load_text, read_link, write_link
from byway.config.invite import invitations
from byway.config.read.schema import schema
from byway.dialects import card
from byway.errors import ConfigError
from byway.flow import Network, Target
from byway.importing import import_text
from tests.architecture.test_docs import missing_pages
from tests.roads import certificates, clients
from tests.roads.conftest import RunRoad, echo, echoing, road
from tests.roads.test_sealed_packets import echoed
from tests.roads.test_udp import associated

__all__ = ["echo", "road"]

USERS = "users: [{name: ann, password: teddy}, {name: bob, password: bear}]"
SERVER = f"inbounds: {{in: {{type: toy, listen: '127.0.0.1:0', {USERS}%s}}}}\n"
CLIENT = (
    "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
    "outbounds: {out: {type: toy, server: '%s', password: teddy%s}}\n"
    "rules: [{otherwise: out}]\n"
)


def wrong(text: str) -> str:
    """What a config is refused for."""
    with pytest.raises(ConfigError) as refused:
        load_text(text)
    return str(refused.value)


def test_it_has_sections_with_checks() -> None:
    config = load_text(CLIENT % ("toys.example:7", ""))
    assert config.outbounds["out"].hop == (Target("toys.example", 7), "direct")

    assert "everybody knows this password" in wrong(
        CLIENT.replace("teddy", "toy") % ("toys.example:7", "")
    )
    assert "outbounds.out.colour" in wrong(CLIENT % ("toys.example:7", ", colour: red"))
    assert "another user has this password" in wrong(SERVER.replace("bear", "teddy") % "")
    assert "unknown type 'tøy'" in wrong(SERVER.replace("type: toy", "type: tøy") % "")


def test_it_stands_in_the_schema() -> None:
    found = schema()
    document = {"outbounds": {"a": {"type": "toy", "server": "h:1", "password": "p"}}}
    jsonschema.validate(document, found)
    document["outbounds"]["a"]["colour"] = "red"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, found)


def test_it_has_links_and_invitations() -> None:
    link = read_link("toy://ted%20dy@toys.example:9#nursery")
    assert link.name == "nursery"
    config = load_text(json.dumps({"outbounds": {"out": link.outbound}}))
    assert write_link(config.outbounds["out"], "nursery") == "toy://ted%20dy@toys.example:9#nursery"
    assert load_text("rules: [{otherwise: 'toy://teddy@toys.example'}]").outbounds

    server = load_text(SERVER.replace(":0'", ":7'") % "")
    invited = invitations("in", server.inbounds["in"], "toys.example")
    assert invited == [
        ("in-ann", "toy://teddy@toys.example:7#in-ann"),
        ("in-bob", "toy://bear@toys.example:7#in-bob"),
    ]


def test_it_is_imported() -> None:
    clash = import_text(
        b"proxies:\n"
        b"  - {name: t, type: toy, server: toys.example, port: 7, password: p, colour: red}\n"
        b"  - {name: b, type: toy, server: toys.example, port: 8, password: p, broken: true}\n"
        b"rules: ['MATCH,t']\n",
        "clash.yaml",
    )
    assert clash.config.outbounds["t"].type == "toy"
    why = [note.why for note in clash.notes]
    assert "colour is not kept" in why
    assert "broken toys are not spoken" in why
    box = import_text(
        json.dumps(
            {
                "inbounds": [
                    {
                        "type": "toy",
                        "listen_port": 7,
                        "users": [{"name": "ann", "password": "teddy"}],
                    }
                ],
                "outbounds": [
                    {
                        "type": "toy",
                        "tag": "t",
                        "server": "toys.example",
                        "server_port": 7,
                        "password": "p",
                    }
                ],
                "route": {"final": "t"},
            }
        ).encode(),
        "box.json",
    )
    assert box.config.outbounds["t"].type == "toy"
    assert [user.name for user in box.config.inbounds["toy"].known_users] == ["ann"]


@pytest.mark.parametrize("dress", ["plain", "tls", "transport", "both"])
async def test_both_ends_carry(dress: str, road: RunRoad, echo: Target, tmp_path: Path) -> None:
    """Connections, and packets inside streams of their own, in whatever the sections put around."""
    here, there = "", ""
    if dress in ("tls", "both"):
        certificates.write(tmp_path)
        there += f", tls: {{cert: '{tmp_path}/chain.pem', key: '{tmp_path}/key.pem'}}"
        here += f", tls: {{sni: localhost, pin: '{certificates.pin(tmp_path / 'chain.pem')}'}}"
    if dress in ("transport", "both"):
        there += ", transport: {type: knock, word: sesame}"
        here += ", transport: {type: knock, word: sesame}"
    async with road(SERVER % there) as far, road(CLIENT % (far.place("in"), here)) as near:
        for target in (echo, Target("localhost", echo.port)):
            link = await clients.linked(near.place("in"))
            assert await clients.socks5(link, target) == 0
            assert await clients.said(link, b"ball" * 5000) == b"ball" * 5000
            await clients.left(link)
        async with echoing("127.0.0.1") as four, associated(near.place("in")) as (sock, _):
            await echoed(sock, four, b"1", b"x" * 1200)
        await far.settled(3)
        past = far.app.ledger.past
        assert {passage.flow.user for passage in past} == {"ann"}
        assert [p.flow.network for p in past].count(Network.UDP) == 1


async def test_a_stranger_gets_nowhere(road: RunRoad, echo: Target) -> None:
    async with (
        road(SERVER % "") as far,
        road(CLIENT.replace("teddy", "wrong") % (far.place("in"), "")) as near,
    ):
        link = await clients.linked(near.place("in"))
        assert await clients.socks5(link, echo) == 0  # nothing is answered
        assert await link[0].read() == b""
        await clients.left(link)
        assert not far.app.ledger.past


def test_a_transport_is_checked() -> None:
    for more, why in (
        ("{type: nock, word: w}", "unknown transport 'nock'"),
        ("{type: knock}", "word is missing"),
        ("{type: knock, word: w, wrod: v}", "did you mean word?"),
        ("knock", "expected a mapping"),
    ):
        assert why in wrong(CLIENT % ("toys.example:7", f", transport: {more}"))
    config = load_text(CLIENT % ("toys.example:7", ", transport: {type: knock, word: w}"))
    with pytest.raises(ValueError, match="transport"):
        write_link(config.outbounds["out"])


def test_pages_are_asked_for() -> None:
    assert set(missing_pages("toy")) == {"docs/inbounds/toy.md", "docs/outbounds/toy.md"}
    assert card("toy").inbound is not None
