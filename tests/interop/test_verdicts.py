"""The same rules and the same flows, judged by Byway and by sing-box.

sing-box has a way of its own for each rule, a SOCKS server that only notes who asked: which way a
flow took says which rule decided. A third of the rules are Clash's lists, a third rules of our own
language, a third lists in sing-box's source form, which both read from one file.

What differs by design is in `DIFFERENT` and in docs/guide/rules.md, and is left out elsewhere:
rules about addresses look a name up in Byway and not in sing-box, so no name has an address here.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from byway.config import judge_of, load, open_sets
from byway.flow import Flow, Network, Target
from byway.rules import Facts, Judge, Via
from tests.interop import socks_client
from tests.interop.programs import free_port, running
from tests.interop.upstreams import sing_box_program

RULES, FLOWS = 45, 250
WITHIN = 20.0
Condition = tuple[str, Any]
"""A key of our rule language and its value."""

NAMES = [
    *("a.example", "www.a.example", "xa.example", "tracker.b.test", "b.test", "cdn1.b.test"),
    *("deep.www.a.example", "test", "example.test.a", "localhost.a.example"),
]
ADDRESSES = [
    *("10.1.2.3", "10.200.0.1", "192.168.7.7", "172.20.0.1", "127.0.0.1", "169.254.7.7"),
    *("192.0.2.7", "203.0.113.200", "8.8.8.8", "2001:db8::1", "2001:db8:5::1", "fd00::7", "::1"),
]
PORTS = [22, 80, 443, 8000, 8080, 9000, 65535]
SOURCES = ["127.0.0.1", "127.0.0.2", "127.0.3.3"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A flow to be judged by both; its source port is known once it was sent."""

    network: Network
    source: str
    target: tuple[str, int]


class Chance:
    """Rules and flows of one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def flow(self) -> Asked:
        one = self._random
        host = one.choice(NAMES if one.random() < 0.6 else ADDRESSES)
        network = Network.UDP if one.random() < 0.25 else Network.TCP
        return Asked(network, one.choice(SOURCES), (host, one.choice(PORTS)))

    def narrow(self) -> Condition:
        """A condition that leaves flows for the rules behind it."""
        found = self.condition()
        if found[0] in ("domain", "domain_suffix", "ip", "port"):
            return found
        some = [("domain_suffix", self._random.choice(NAMES)), ("ip", self.prefix(ADDRESSES))]
        return "and", [found, self._random.choice(some), ("port", self.ports())]

    def ports(self) -> str:
        low = self._random.choice(PORTS)
        return self._random.choice([str(low), f"{low}-{min(65535, low + 900)}"])

    def condition(self, depth: int = 0) -> Condition:
        one = self._random
        if depth < 2 and one.random() < 0.4:
            word = one.choice(["and", "or", "not"])
            if word == "not":
                return word, self.condition(depth + 1)
            return word, [self.condition(depth + 1) for _ in range(one.randint(2, 3))]
        host = one.choice(NAMES)
        start = one.randrange(len(host) - 2)
        kinds: list[Condition] = [
            ("domain", host),
            ("domain_suffix", host),
            ("domain_keyword", host[start : start + one.randint(2, 5)].strip(".") or "a"),
            ("domain_regex", one.choice([r"^www\.", r"[0-9]\.", r"\.test$", "^[^.]+[.]b", "a.e"])),
            ("ip", self.prefix(ADDRESSES)),
            ("port", self.ports()),
            ("source", self.prefix(SOURCES)),
            ("source_port", one.choice(["1-39999", "40000-50000", "50001-65535"])),
            ("network", one.choice(["tcp", "udp"])),
        ]
        if depth > 0:
            kinds.append(("private", True))
        return one.choice(kinds)

    def prefix(self, addresses: Sequence[str]) -> str:
        address = self._random.choice(addresses)
        bits = self._random.choice([10, 24, 48, 64, 128] if ":" in address else [8, 16, 24, 32])
        packed = Target.of(address, 0).packed or b""
        head = int.from_bytes(packed) >> (8 * len(packed) - bits) << (8 * len(packed) - bits)
        return f"{Target.from_packed(head.to_bytes(len(packed)), 0).host}/{bits}"

    def source_rule(self) -> dict[str, object]:
        """A rule as sing-box's lists have it: several keys, each with several items."""
        one = self._random
        rule: dict[str, object] = {}
        for word, value in (self.condition(2) for _ in range(one.randint(1, 4))):
            for key, item in in_words_of_sing_box((word, value)).items():
                if isinstance(item, list):
                    rule.setdefault(key, [])
                    rule[key] = [*rule[key], *item]  # type: ignore[misc]
        rule.pop("ip_is_private", None)  # no list has it
        rule.setdefault("domain_suffix", [one.choice(NAMES)])
        rule.setdefault("port", [one.choice(PORTS)])
        return rule | ({"invert": True} if one.random() < 0.04 else {})


def in_our_words(condition: Condition) -> dict[str, object]:
    word, value = condition
    if word == "not":
        return {"not": in_our_words(value)}
    if word in ("and", "or"):
        return {word: [in_our_words(one) for one in value]}
    return {word: value}


def in_words_of_sing_box(condition: Condition) -> dict[str, Any]:
    word, value = condition
    if word == "not":
        inner = in_words_of_sing_box(value)
        return {"type": "logical", "mode": "or", "rules": [inner], "invert": True}
    if word in ("and", "or"):
        return {"type": "logical", "mode": word, "rules": list(map(in_words_of_sing_box, value))}
    if word in ("port", "source_port"):
        first, dash, last = value.partition("-")
        return {f"{word}_range": [f"{first}:{last}"]} if dash else {word: [int(first)]}
    if word == "private":
        return {"ip_is_private": True}
    key = {"ip": "ip_cidr", "source": "source_ip_cidr"}.get(word, word)
    return {key: [value]}


def in_words_of_clash(condition: Condition) -> str:
    word, value = condition
    if word in ("and", "or", "not"):
        parts = [value] if word == "not" else value
        return f"{word.upper()},({','.join(f'({in_words_of_clash(one)})' for one in parts)})"
    if word == "private":
        return "GEOIP,LAN,no-resolve"
    kinds = {
        "ip": "IP-CIDR",
        "port": "DST-PORT",
        "source": "SRC-IP-CIDR",
        "source_port": "SRC-PORT",
    }
    kind = kinds.get(word, word.upper().replace("_", "-"))
    return f"{kind},{value}" + (",no-resolve" if word == "ip" else "")


@dataclass(slots=True)
class Ground:
    """The rules in both programs' forms: rule n leads to the way n, all else to the last."""

    folder: Path
    ours: list[dict[str, object]] = field(default_factory=list)
    theirs: list[dict[str, object]] = field(default_factory=list)
    our_sets: dict[str, dict[str, object]] = field(default_factory=dict)
    their_sets: list[dict[str, object]] = field(default_factory=list)

    def add(self, chance: Chance) -> None:
        at = len(self.ours)
        name, way = f"set-{at}", f"way-{at}"
        outbound = {"action": "route", "outbound": way}
        if at % 3 == 0:
            conditions = [chance.narrow() for _ in range(3)]
            file = self.folder / f"{name}.txt"
            file.write_text("".join(f"{in_words_of_clash(one)}\n" for one in conditions))
            self.our_sets[name] = {"type": "file", "path": str(file), "format": "clash"}
            self.ours.append({"set": name, "to": way})
            rules = [in_words_of_sing_box(one) for one in conditions]
            self.theirs.append({"type": "logical", "mode": "or", "rules": rules, **outbound})
        elif at % 3 == 1:
            condition = chance.narrow()
            self.ours.append({**in_our_words(condition), "to": way})
            self.theirs.append({**in_words_of_sing_box(condition), **outbound})
        else:
            file = self.folder / f"{name}.json"
            rules = [chance.source_rule() for _ in range(2)]
            file.write_text(json.dumps({"version": 3, "rules": rules}))
            self.our_sets[name] = {"type": "file", "path": str(file), "format": "sing-box"}
            self.ours.append({"set": name, "to": way})
            local = {"type": "local", "format": "source", "path": str(file)}
            self.their_sets.append({"tag": name, **local})
            self.theirs.append({"rule_set": [name], **outbound})

    @property
    def ways(self) -> list[str]:
        return [f"way-{at}" for at in range(len(self.ours) + 1)]

    def judge(self) -> Judge:
        settings = {
            "inbounds": {"home": {"type": "mixed", "listen": "127.0.0.1:1"}},
            "outbounds": {way: {"type": "socks", "server": "127.0.0.1:2"} for way in self.ways},
            "sets": self.our_sets,
            "rules": [*self.ours, {"otherwise": self.ways[-1]}],
        }
        file = self.folder / "byway.json"
        file.write_text(json.dumps(settings))
        config = load(file)
        opened = open_sets(config, self.folder)
        assert not opened.problems
        return judge_of(config, opened.sets)

    def sing_box(self, port: int, upstreams: dict[str, int]) -> Path:
        settings = {
            "log": {"level": "warn"},
            "inbounds": [{"type": "socks", "listen": "127.0.0.1", "listen_port": port}],
            "outbounds": [
                {"type": "socks", "tag": way, "server": "127.0.0.1", "server_port": upstream}
                for way, upstream in upstreams.items()
            ],
            "route": {"rules": self.theirs, "rule_set": self.their_sets, "final": self.ways[-1]},
        }
        file = self.folder / "sing-box.json"
        file.write_text(json.dumps(settings))
        return file


@asynccontextmanager
async def noted(
    ways: Sequence[str], reply: int = 2
) -> AsyncIterator[tuple[dict[str, int], asyncio.Queue[str]]]:
    """A SOCKS server for each way that only says that it was asked, and leaves with a reply: that a
    rule forbids it, or 0 (granted) for those that would ask again and again."""
    asked: asyncio.Queue[str] = asyncio.Queue()
    servers = []
    ports = {}

    def refuser(way: str) -> Any:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer), suppress(EOFError):  # one that only looked whether we listen
                greeting = await reader.readexactly(2)
                await reader.readexactly(greeting[1])
                writer.write(b"\5\0")
                await reader.readexactly(4)
                asked.put_nowait(way)
                writer.write(bytes((5, reply, 0, 1)) + bytes(6))
                await writer.drain()

        return refuse

    try:
        for way in ways:
            server = await asyncio.start_server(refuser(way), "127.0.0.1", 0)
            servers.append(server)
            ports[way] = server.sockets[0].getsockname()[1]
        yield ports, asked
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


async def way_of(flow: Asked, port: int, asked: asyncio.Queue[str]) -> tuple[str, int]:
    """The way that sing-box sends a flow, and the flow's source port."""
    loop = asyncio.get_running_loop()
    if flow.network is Network.UDP:
        with socks_client.UdpSocket(("127.0.0.1", port)) as client:
            client.packets.bind((flow.source, 0))
            client.send(b"hello", flow.target)
            way = await asyncio.wait_for(asked.get(), WITHIN)
            return way, client.packets.getsockname()[1]
    with socket.socket() as client:
        client.bind((flow.source, 0))
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, b"\5\1\0")
        assert await loop.sock_recv(client, 2) == b"\5\0"
        request = socks_client.wrapped(b"", flow.target)[3:]
        await loop.sock_sendall(client, b"\5\1\0" + request)
        return await asyncio.wait_for(asked.get(), WITHIN), client.getsockname()[1]


def ours(judge: Judge, flow: Asked, source_port: int) -> str:
    target, source = Target.of(*flow.target), Target.of(flow.source, source_port)
    verdict = judge.decide(Flow(1, flow.network, "home", source, target), Facts(addresses=()))
    assert isinstance(verdict, Via)
    return verdict.outbound


async def compared(ground: Ground, flows: Sequence[Asked], tmp_path: Path) -> list[str]:
    """What the two programs do not agree in; and each rule's share, so that none of it is empty."""
    judge, differing, taken = ground.judge(), [], set()
    async with noted(ground.ways) as (upstreams, asked):
        port = free_port()
        file = ground.sing_box(port, upstreams)
        command = [str(sing_box_program()), "run", "-c", str(file)]
        with running(command, tmp_path / "sing-box.log", port):
            for flow in flows:
                theirs, source_port = await way_of(flow, port, asked)
                own = ours(judge, flow, source_port)
                taken.add(own)
                if own != theirs:
                    differing.append(f"{flow}, from port {source_port}: {own}, sing-box {theirs}")
    assert len(taken) > 5, "the first rules take it all"
    return differing


@pytest.mark.parametrize("seed", range(4))
async def test_byway_and_sing_box_agree(seed: int, tmp_path: Path) -> None:
    chance, ground = Chance(seed), Ground(tmp_path)
    for _ in range(RULES):
        ground.add(chance)

    assert await compared(ground, [chance.flow() for _ in range(FLOWS)], tmp_path) == []


DIFFERENT = {
    "addresses that are shared by the customers of a provider (RFC 6598)": (
        ("private", True),
        "100.64.0.1",
    ),
    "addresses of this network (RFC 1122)": (("private", True), "0.1.2.3"),
    "the broadcast address": (("private", True), "255.255.255.255"),
    "letters of a regex, which names have in lower case alone": (
        ("domain_regex", "^WWW"),
        "www.a.example",
    ),
}


async def test_what_differs_by_design(tmp_path: Path) -> None:
    for at, (condition, host) in enumerate(DIFFERENT.values()):
        folder = tmp_path / str(at)
        folder.mkdir()
        ground = Ground(folder)
        ground.ours.append({**in_our_words(condition), "to": "way-0"})
        theirs = {**in_words_of_sing_box(condition), "action": "route", "outbound": "way-0"}
        ground.theirs.append(theirs)
        flow = Asked(Network.TCP, "127.0.0.1", (host, 80))
        async with noted(ground.ways) as (upstreams, asked):
            port = free_port()
            file = ground.sing_box(port, upstreams)
            command = [str(sing_box_program()), "run", "-c", str(file)]
            with running(command, folder / "sing-box.log", port):
                way, source_port = await way_of(flow, port, asked)
        assert (ours(ground.judge(), flow, source_port), way) == ("way-0", "way-1")
