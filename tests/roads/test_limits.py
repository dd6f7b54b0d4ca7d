"""Limits on whole roads: whoever passes counts, in any protocol, and the last byte is exact."""

from __future__ import annotations

import asyncio
import contextlib
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from byway.app import App
from byway.config import load_text
from byway.flow import Target
from byway.ledger.limits import Limit
from tests.roads import clients
from tests.roads.conftest import Road, RunRoad, served
from tests.roads.test_encrypted import at_client, at_server
from tests.roads.test_udp import associated, wrapped


def config(limits: str) -> str:
    """An inbound with two users, and a limit put somewhere."""
    places = {"inbound": "", "ann": "", "direct": "", "rule": "", "otherwise": ""}
    for line in limits.splitlines():
        where, _, limit = line.strip().partition(" ")
        places[where] = f", limit: {limit}"
    return f"""
    inbounds:
      in:
        type: mixed
        listen: "127.0.0.1:0"
        users:
          - {{name: ann, password: secret{places["ann"]}}}
          - {{name: bob, password: secret}}
        {places["inbound"].removeprefix(", ")}
    outbounds:
      direct: {{type: direct{places["direct"]}}}
    rules:
      - {{network: udp, to: direct{places["rule"]}}}
      - {{otherwise: direct{places["otherwise"]}}}
    """


def limit_of(run: Road, name: str) -> Limit:
    (found,) = [limit for limit in run.app.limits.all if name in limit.terms.name]
    return found


async def asked(run: Road, target: Target, user: str = "ann") -> tuple[int, clients.Link]:
    link = await clients.linked(run.place("in"))
    return await clients.socks5(link, target, (user, "secret")), link


async def heard(link: clients.Link) -> int:
    """How many bytes came until the end, or a break."""
    count = 0
    with contextlib.suppress(ConnectionError):
        while data := await link[0].read(65536):
            count += len(data)
    return count


@pytest.mark.parametrize("where", ["inbound", "ann", "direct", "otherwise"])
async def test_flows_at_once_are_counted_at_every_place(
    road: RunRoad, echo: Target, where: str
) -> None:
    async with road(config(f"{where} {{flows: 1}}")) as run:
        code, first = await asked(run, echo)
        assert code == 0
        code, second = await asked(run, echo)
        assert code == 1  # no, in the client's own protocol
        await clients.left(second)
        await run.settled(1)
        (reason,) = run.ended()
        assert "already 1 flows" in reason
        assert ".yaml" in reason or "config" in reason
        assert await clients.said(first, b"alive") == b"alive"
        await clients.left(first)
        await run.settled(2)
        code, third = await asked(run, echo)
        assert code == 0
        await clients.left(third)
        assert limit_of(run, "").refused == 1


async def test_a_users_limit_is_no_limit_of_another(road: RunRoad, echo: Target) -> None:
    async with road(config("ann {flows: 1}")) as run:
        links = [(await asked(run, echo, user)) for user in ("ann", "bob", "bob", "ann")]
        assert [code for code, _ in links] == [0, 0, 0, 1]
        for _, link in links:
            await clients.left(link)


async def test_a_quota_cuts_every_flow_of_it_and_refuses_more(road: RunRoad, echo: Target) -> None:
    async with road(config("ann {quota: 10KB}")) as run:
        code, idle = await asked(run, echo)
        assert code == 0
        assert await clients.said(idle, b"hello") == b"hello"
        code, busy = await asked(run, echo)
        assert code == 0
        _, other = await asked(run, echo, "bob")
        busy[1].write(bytes(20_000))
        await asyncio.gather(heard(busy), heard(idle))
        await run.settled(2)
        limit = limit_of(run, "ann")
        assert [reason.split(":")[0] for reason in run.ended()] == ["quota", "quota"]
        assert "user ann" in run.ended()[0]
        moved = sum(passage.up + passage.down for passage in run.app.ledger.past)
        assert moved == limit.bucket.used == 10_000
        code, refused = await asked(run, echo)
        assert code == 1
        assert await clients.said(other, b"alive") == b"alive"
        for link in (idle, busy, refused, other):
            await clients.left(link)


async def test_a_rate_holds_for_all_flows_together(road: RunRoad, echo: Target) -> None:
    async with road(config("inbound {up: 800KB/s}\ndirect {down: 4MB/s}")) as run:
        links = [(await asked(run, echo))[1] for _ in range(3)]
        for _, writer in links:
            writer.write(bytes(60_000))
        counts = await asyncio.gather(*(link[0].readexactly(60_000) for link in links))
        assert [len(count) for count in counts] == [60_000] * 3
        for link in links:
            await clients.left(link)
        await run.settled(3)
        up, down, waits, _ = limit_of(run, "inbound").bucket.seen()
        assert (up, down) == (180_000, 180_000)
        assert waits > 0
        up, down, _, _ = limit_of(run, "outbound").bucket.seen()
        assert (up, down) == (180_000, 180_000)


async def http_get(run: Road, target: Target, path: str = "/") -> tuple[bytes, clients.Link]:
    """The head of the answer to a plain request."""
    link = await clients.linked(run.place("in"))
    link[1].write(
        f"GET http://{target}{path} HTTP/1.1\r\nHost: {target}\r\n"
        "Proxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n".encode()
    )
    return await link[0].readuntil(b"\r\n\r\n"), link


@contextlib.asynccontextmanager
async def web(size: int) -> AsyncIterator[Target]:
    """Answers any request with so many bytes."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    async with served(lambda _: answer, "127.0.0.1") as target:
        yield target


async def test_a_plain_request_is_cut_by_a_quota_and_does_not_look_whole(road: RunRoad) -> None:
    async with web(50_000) as target, road(config("ann {quota: 30KB}")) as run:
        head, link = await http_get(run, target)
        assert b"200 OK" in head
        assert await heard(link) < 50_000
        await run.settled(1)
        (passage,) = run.app.ledger.past
        assert passage.reason.startswith("quota")
        assert passage.up + passage.down == limit_of(run, "ann").bucket.used == 30_000
        head, refused = await http_get(run, target)
        assert b" 503 " in head.splitlines()[0]
        await clients.left(refused)
        await clients.left(link)


async def test_a_plain_request_waits_for_its_turn(road: RunRoad) -> None:
    async with web(60_000) as target, road(config("rule {flows: 1}\nann {down: 500KB/s}")) as run:
        _, link = await http_get(run, target)
        assert len(await link[0].readexactly(60_000)) == 60_000
        await clients.left(link)
        await run.settled(1)
        up, down, waits, _ = limit_of(run, "ann").bucket.seen()
        (passage,) = run.app.ledger.past
        assert (passage.up, passage.down) == (up, down)
        assert waits > 0


async def test_payload_counts_whatever_it_is_wrapped_in(road: RunRoad, echo: Target) -> None:
    method = "2022-blake3-aes-128-gcm"
    limited = ", limit: {quota: 300KB, down: 500KB/s}"
    async with (
        road(at_server(method, limited)) as there,
        road(at_client(method, there.place("in"))) as here,
    ):
        link = await clients.linked(here.place("in"))
        assert await clients.socks5(link, echo) == 0
        link[1].write(bytes(200_000))
        assert await heard(link) <= 300_000
        await there.settled(1)
        (passage,) = there.app.ledger.past
        limit = limit_of(there, "inbound")
        assert passage.reason.startswith("quota")
        assert passage.up + passage.down == limit.bucket.used == 300_000
        assert limit.bucket.seen()[2] > 0
        await clients.left(link)
        await here.settled(1)


async def test_packets_count_and_end_with_their_quota(road: RunRoad, udp_echo: Target) -> None:
    text = config("rule {quota: 5000B}").replace("users:", "x:")
    lines = [line for line in text.splitlines() if "x:" not in line and "password" not in line]
    async with road("\n".join(lines)) as run, associated(run.place("in")) as (sock, _):
        for _ in range(2):
            sock.transport.sendto(wrapped(udp_echo, bytes(1000)))
            assert len(await sock.next()) > 1000
        for _ in range(2):
            sock.transport.sendto(wrapped(udp_echo, bytes(1000)))
        await run.settled(1)
        (passage,) = run.app.ledger.past
        assert passage.reason.startswith("quota: the limit of rule network: udp")
        assert passage.up + passage.down == limit_of(run, "rule").bucket.used <= 5000


async def test_a_reload_keeps_what_is_used_and_holds_live_flows_to_the_new_terms(
    road: RunRoad, echo: Target
) -> None:
    async with road(config("ann {quota: 10KB}\ndirect {flows: 5}")) as run:
        _, link = await asked(run, echo)
        assert await clients.said(link, b"hello") == b"hello"
        outbound = run.app.now.outbounds["direct"]
        changed = config("ann {quota: 12B}\ndirect {flows: 1}")
        text = f"log: {{file: {run.log}}}\n" + textwrap.dedent(changed)
        told = await run.app.reload(load_text(text))
        assert told == ("~ inbound in: users", "~ outbound direct: limit")
        assert run.app.now.outbounds["direct"] is outbound
        assert limit_of(run, "ann").bucket.used == 10
        code, refused = await asked(run, echo, "bob")
        assert code == 1
        link[1].write(b"more")
        await heard(link)
        await run.settled(2)
        assert limit_of(run, "ann").bucket.used == 12
        assert run.ended()[1].startswith("quota")
        for one in (link, refused):
            await clients.left(one)


async def test_a_quota_outlives_its_app(tmp_path: Path, echo: Target) -> None:
    settings = f"log: {{file: {tmp_path / 'log'}}}\n" + textwrap.dedent(config("ann {quota: 1KB}"))
    for used in (0, 10):
        async with App(load_text(settings), memory=tmp_path) as app:
            run = Road(app, tmp_path / "log")
            assert limit_of(run, "ann").bucket.used == used
            _, link = await asked(run, echo)
            assert await clients.said(link, b"hello") == b"hello"
            await clients.left(link)
            await run.settled(1)
    assert (tmp_path / "quotas.json").stat().st_mode & 0o777 == 0o600
