"""`tls:` and `transport:` around every protocol over a stream, and `mux:` inside, at both ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from byway.config import load_text
from byway.errors import ConfigError
from byway.flow import Target
from tests.roads import certificates, clients
from tests.roads.conftest import RunRoad, echo, road

__all__ = ["echo", "road"]

pytestmark = pytest.mark.usefixtures("nowhere")

SECRET = "method: 2022-blake3-aes-128-gcm, password: 'AQEBAQEBAQEBAQEBAQEBAQ=='"
IN = {
    "http": "type: http",
    "socks": "type: socks",
    "mixed": "type: mixed",
    "shadowsocks": f"type: shadowsocks, {SECRET}",
    "trojan": "type: trojan, users: [{name: ann, password: secret}], fallback: '%s'",
    "toy": "type: toy, users: [{name: ann, password: secret}]",
}
OUT = {
    "http": "type: http",
    "socks": "type: socks",
    "mixed": "type: socks",
    "shadowsocks": f"type: shadowsocks, {SECRET}",
    "trojan": "type: trojan, password: secret",
    "toy": "type: toy, password: secret",
}


WEARS = {
    "knock": "{type: knock, word: sesame}",
    "ws": "{type: ws, path: /sesame}",
    "httpupgrade": "{type: httpupgrade, path: /sesame}",
}


@pytest.mark.parametrize("wears", WEARS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("mux", ["", ", mux: {type: sing-mux}"], ids=["alone", "mux"])
@pytest.mark.parametrize("kind", IN)
async def test_every_protocol_wears_a_transport(
    kind: str, mux: str, tls: bool, wears: str, road: RunRoad, echo: Target, tmp_path: Path
) -> None:
    if kind == "trojan" and wears != "knock":
        pytest.skip("its strangers get the web site, which is an echo here")
    here = there = f", transport: {WEARS[wears]}" + mux
    if tls or kind == "trojan":
        certificates.write(tmp_path)
        there += f", tls: {{cert: '{tmp_path}/chain.pem', key: '{tmp_path}/key.pem'}}"
        here += f", tls: {{sni: localhost, ca: '{tmp_path}/chain.pem'}}"
    section = IN[kind].replace("%s", str(echo))
    async with road(f"inbounds: {{in: {{listen: '127.0.0.1:0', {section}{there}}}}}\n") as far:
        way = f"{{server: '{far.place('in')}', {OUT[kind]}{here}}}"
        async with road(
            "inbounds: {in: {type: socks, listen: '127.0.0.1:0'}}\n"
            f"outbounds: {{out: {way}, bare: {way.replace('sesame', 'other')}}}\n"
            "rules: [{port: 1, to: bare}, {otherwise: out}]\n"
        ) as near:
            for target in (echo, Target("localhost", echo.port)):
                link = await clients.linked(near.place("in"))
                assert await clients.socks5(link, target) == 0
                assert await clients.said(link, b"ball" * 20_000) == b"ball" * 20_000
                await clients.left(link)
            link = await clients.linked(near.place("in"))
            assert await clients.socks5(link, Target.of("192.0.2.1", 1)) != 0
            await clients.left(link)
        await far.settled(2)
        assert len(far.app.ledger.past) == 2


@pytest.mark.parametrize("key", ["tls: {}", "transport: {type: knock, word: w}"])
def test_a_plugin_has_the_stream_for_itself(key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_text(f"outbounds: {{a: {{server: 'h:1', {OUT['shadowsocks']}, plugin: p, {key}}}}}")
    assert "exclude each other" in str(refused.value)
