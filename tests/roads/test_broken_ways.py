"""Ways out that are of no use: they fail by themselves, and nothing else does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from byway.app.naming import alone
from byway.config import load_text
from byway.flow import Target
from tests.roads import certificates, clients
from tests.roads.conftest import RunRoad

pytestmark = pytest.mark.usefixtures("nowhere")

TEXT = """
inbounds:
  in: {{type: socks, listen: "127.0.0.1:0", users: [
    {{name: plugged, password: p}}, {{name: spoiled, password: p}}, {{name: fine, password: p}}]}}
outbounds:
  plugged: {{type: shadowsocks, server: "192.0.2.1:1", method: aes-128-gcm, password: p,
    plugin: {folder}/plugin}}
  spoiled: {{type: trojan, server: "{server}", password: p, tls: {{ca: {folder}/chain.pem}}}}
groups:
  either: {{type: fallback, members: [plugged, spoiled, direct]}}
rules:
  - {{user: plugged, to: plugged}}
  - {{user: spoiled, to: spoiled}}
  - otherwise: either
"""

PLUGIN = """#!{python}
import os, socket
server = socket.create_server((os.environ["SS_LOCAL_HOST"], int(os.environ["SS_LOCAL_PORT"])))
open({seen!r}, "a").write(os.environ["SS_REMOTE_HOST"])
while True: server.accept()[0].close()
"""


async def test_what_is_missing_for_one_way_out_is_missed_by_no_other(
    road: RunRoad, echo: Target, tmp_path: Path
) -> None:
    async def asked(user: str) -> int:
        link = await clients.linked(run.place("in"))
        code = await clients.socks5(link, echo, (user, "p"))
        if not code:
            assert await clients.said(link, b"hello") == b"hello"
        await clients.left(link)
        return code

    async with road(TEXT.format(server=echo, folder=tmp_path)) as run:
        assert [await asked(user) for user in ("plugged", "spoiled", "fine")] == [1, 1, 0]
        await run.settled(3)
        ended = run.ended()
        assert f"plugged: cannot start plugin {tmp_path}/plugin: no such file" in ended[0]
        assert f"spoiled: tls: {tmp_path}/chain.pem: no such file or directory" in ended[1]
        await run.logged(f"the program {tmp_path}/plugin is not there")
        await run.logged(f"{tmp_path}/chain.pem cannot be read")

        certificates.write(tmp_path)
        assert await asked("spoiled") == 1
        await run.settled(4)
        assert "chain.pem" not in run.ended()[3]  # it was read; what answers speaks no TLS
    assert not (tmp_path / "seen").exists()


async def test_a_plugin_starts_at_the_first_dial_and_why_is_none(
    road: RunRoad, echo: Target, tmp_path: Path
) -> None:
    seen, plugin = tmp_path / "seen", tmp_path / "plugin"
    plugin.write_text(PLUGIN.format(python=sys.executable, seen=str(seen)))
    plugin.chmod(0o755)
    text = TEXT.format(server=echo, folder=tmp_path) + "dns: {use: system}\n"
    async with road(text) as run:
        async with alone(load_text(text)):
            pass
        assert not seen.exists()
        link = await clients.linked(run.place("in"))
        assert await clients.socks5(link, echo, ("plugged", "p")) == 0  # it accepts, and is no more
        await clients.left(link)
        assert seen.read_text() == "192.0.2.1"
