"""What is said of limits: in the status, as metrics, in the table of a terminal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from byway.api.metrics import exposition
from byway.api.views import View, status_view
from byway.api.why import recall
from byway.app import App
from byway.cli.tables import status_lines
from byway.config import load_text
from byway.flow import Target
from byway.ledger.limits import Limit
from tests.api.test_control import fits
from tests.roads import clients
from tests.roads.conftest import served

CONFIG = """
log: {{file: {folder}/byway.log}}
inbounds:
  door: {{type: socks, listen: "127.0.0.1:0", limit: {{flows: 1, up: 8Mbit/s}}}}
outbounds:
  direct: {{type: direct, limit: {{quota: 2GB, per: 30d}}}}
rules:
  - {{port: 1, to: direct, limit: {{down: 1MB/s}}}}
  - {{otherwise: direct}}
"""


def named(status: View, name: str) -> View:
    (found,) = [limit for limit in cast("list[View]", status["limited"]) if limit["name"] == name]
    return found


async def test_a_limit_shows_what_it_says_and_what_came_of_it(tmp_path: Path) -> None:
    config = load_text(CONFIG.format(folder=tmp_path), "b.yaml")
    async with (
        App(config, memory=tmp_path) as app,
        served(lambda data: data, "127.0.0.1") as target,
    ):
        links = []
        for code in (0, 1):
            links.append(await clients.linked(Target.parse(app.addresses["door"][0])))
            assert await clients.socks5(links[-1], target) == code
        await clients.said(links[0], b"hello")
        status = status_view(app, "1")
        fits(status, "Status")
        assert [limit["name"] for limit in cast("list[View]", status["limited"])] == [
            "inbound door",
            "outbound direct",
            "rule port: 1, to: direct",
        ]
        door = named(status, "inbound door")
        assert door["place"] == "b.yaml:4"
        assert (door["flows"], door["live"], door["refused"]) == (1, 1, 1)
        assert (door["up"], door["quota"], door["spent"]) == (1_000_000, None, False)
        direct = named(status, "outbound direct")
        assert (direct["used"], direct["quota"]) == (10, 2 * 10**9)
        assert (direct["moved_up"], direct["moved_down"]) == (5, 5)
        assert 29 * 86400 < cast(float, direct["left"]) <= 30 * 86400

        metrics = exposition(status)
        assert 'byway_limit_quota_used_bytes{limit="outbound direct"} 10\n' in metrics
        assert 'byway_limit_refused_total{limit="inbound door"} 1\n' in metrics
        assert 'byway_limit_quota_bytes{limit="inbound door"}' not in metrics

        lines = "\n".join(status_lines(status))
        assert "  inbound door                   1/1 flows, 1.0M/s up, 1 refused" in lines
        assert "1 flows, 10 of 2.0G used, whole in 30d" in lines

        (refused,) = app.ledger.past
        why = recall(config, refused, app.now.judge)
        fits(why, "Why")
        assert why["end"] == "the limit of inbound door (b.yaml:4): already 1 flows"
        assert why["limits"] == [
            "the limit of inbound door (b.yaml:4)",
            "the limit of outbound direct (b.yaml:6)",
        ]
        for link in links:
            await clients.left(link)


async def test_offloads_and_memory_by_part_are_shown(tmp_path: Path) -> None:
    text = f"""
log: {{file: {tmp_path}/byway.log}}
inbounds:
  door: {{type: forward, listen: "127.0.0.1:0", target: "127.0.0.1:9", network: udp}}
"""
    async with App(load_text(text, "b.yaml")) as app:
        status = status_view(app, "1")
        fits(status, "Status")
        packets, memory = cast(View, status["packets"]), cast(View, status["memory"])
        assert packets["listeners"] == 1
        assert {"gro", "gso", "packets_up", "limited"} <= packets.keys()
        assert {"resident", "code", "heap", "sets", "salts", "relays", "names"} <= memory.keys()
        lines = "\n".join(status_lines(status))
        for offload in ("gro", "gso"):
            state = "on" if packets[offload] else "off"
            assert f"{offload.upper()} {state}" in lines
        metrics = exposition(status)
        assert "\nbyway_packets_listeners 1\n" in metrics
        assert "\nbyway_packets_up 0\n" in metrics
        assert "\nbyway_memory_sets_bytes " in metrics
        assert "\nbyway_engine_spliced " in metrics


async def test_quotas_that_will_be_forgotten_are_degraded(tmp_path: Path) -> None:
    config = load_text(CONFIG.format(folder=tmp_path), "b.yaml")
    async with App(config) as app:
        (told,) = cast("list[View]", status_view(app, "1")["degraded"])
        assert told["what"] == "limits"
        assert "no folder" in str(told["why"])
    blocked = tmp_path / "a file"
    blocked.write_text("")
    async with App(config, memory=blocked) as app:
        assert isinstance(app.limits.all[1], Limit)
        await asyncio.to_thread(app.limits.save)
        (told,) = cast("list[View]", status_view(app, "1")["degraded"])
        assert "cannot be" in str(told["why"])
