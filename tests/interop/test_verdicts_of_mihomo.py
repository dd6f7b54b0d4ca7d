"""The same config and the same flows, judged by mihomo and by what `byway import` makes of it.

mihomo has a way of its own for each rule, a SOCKS server that only notes that it was asked: which
way a flow took says which rule decided. Names have addresses here, by a name server on loopback, so
rules about addresses are asked as they are in earnest: with and without resolving, after rules that
have resolved a name already, in sets, and about the source. The databases are real ones.

What differs by design is in `DIFFERENT`, and in docs/guide/import.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from byway.config import judge_of, open_sets
from byway.config.names.own import hosts_of
from byway.flow import Flow, Network, Target
from byway.importing import Imported, import_text
from byway.rules import Facts, Lacks, Via
from tests.dns.authority import Asked as Question
from tests.dns.authority import serving
from tests.interop.programs import free_port
from tests.interop.test_verdicts import WITHIN, Asked, noted, way_of
from tests.interop.upstreams import mihomo, mihomo_part

pytestmark = pytest.mark.interop
RULES, FLOWS = 40, 200
TOLD = ("dns.enhanced-mode", "find-process-mode")

KNOWN = {
    "a.example": "10.1.2.3",
    "www.a.example": "192.0.2.7",
    "xa.example": "192.168.7.7",
    "tracker.b.test": "203.0.113.200",
    "b.test": "8.8.8.8",
    "cdn1.b.test": "100.64.0.1",
    "deep.www.a.example": "1.0.1.7",
    "nowhere.test": "",
}
HOSTS = {"nas.test": "192.168.7.9", "+.home.test": "10.200.0.1"}
NAMES = [*KNOWN, "nas.test", "tv.home.test", "home.test"]
ADDRESSES = [
    *("10.1.2.3", "192.168.7.7", "172.20.0.1", "127.0.0.1", "169.254.7.7", "100.64.0.1"),
    *("192.0.2.7", "203.0.113.200", "8.8.8.8", "1.0.1.7", "2001:db8::1", "fd00::7", "0.1.2.3"),
]
PORTS = [22, 80, 443, 8000, 9000]
SOURCES = ["127.0.0.1", "127.0.0.2", "127.0.3.3"]


@dataclass(slots=True)
class Chance:
    """Rules and flows of one seed, and the sets that the rules ask for."""

    seed: int
    providers: dict[str, dict[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    _random: random.Random = field(init=False)

    def flow(self) -> Asked:
        one = self._random
        host = one.choice(NAMES if one.random() < 0.7 else ADDRESSES)
        network = Network.UDP if host in ADDRESSES and one.random() < 0.5 else Network.TCP
        return Asked(network, one.choice(SOURCES), (host, one.choice(PORTS)))

    def rule(self, way: str) -> str:
        """A rule to a way, with something beside it that leaves flows for those behind it."""
        one = self._random
        kind = one.random()
        if kind < 0.2:
            value, *options = self.set().split(",")
            return f"AND,(({self.narrow()}),(RULE-SET,{','.join((value, *options))})),{way}"
        if kind < 0.6:
            parts = [self.name() if one.random() < 0.5 else self.part(0, True) for _ in range(2)]
            parts.sort(key=self.resolves)
            if sum(map(self.resolves, parts)) < 2:
                return f"AND,({','.join(f'({part})' for part in [self.narrow(), *parts])}),{way}"
        simple = self.simple(True)
        word, value, *options = simple.split(",")
        if word in ("DOMAIN", "IP-CIDR", "GEOIP", "IP-ASN") and ",src" not in simple:
            return ",".join((word, value, way, *options))
        return f"AND,(({self.narrow()}),({simple})),{way}"

    def narrow(self) -> str:
        return f"DST-PORT,{'/'.join(map(str, self._random.sample(PORTS, 2)))}"

    def resolves(self, part: str) -> bool:
        """Whether a part may ask for the address of a name: it comes last, see `DIFFERENT`."""
        about = any(word in part for word in ("IP-CIDR,", "GEOIP,", "IP-ASN,", "RULE-SET,"))
        return about and "no-resolve" not in part and ",src" not in part and "SRC-" not in part

    def part(self, depth: int, may_resolve: bool) -> str:
        one = self._random
        if depth > 1 or one.random() < 0.6:
            return self.simple(may_resolve)
        word = one.choice(["AND", "OR", "NOT"])
        if word == "NOT":
            return f"NOT,(({self.part(depth + 1, may_resolve)}))"
        parts = [self.part(depth + 1, False), self.part(depth + 1, may_resolve)]
        return f"{word},({','.join(f'({part})' for part in parts)})"

    def name(self) -> str:
        one = self._random
        host = one.choice(NAMES)
        start = one.randrange(len(host) - 2)
        return one.choice(
            [
                f"DOMAIN,{host}",
                f"DOMAIN-SUFFIX,{host}",
                f"DOMAIN-KEYWORD,{host[start : start + 4].strip('.') or 'a'}",
                f"DOMAIN-WILDCARD,*{host[start + 1 :]}",
                f"DOMAIN-REGEX,{one.choice(['^www', '[0-9]', 'test$', '^[^.]+[.]b'])}",
            ]
        )

    def simple(self, may_resolve: bool) -> str:
        one = self._random
        option = one.choice(["", ",no-resolve", ",src"]) if may_resolve else ",no-resolve"
        return one.choice(
            [
                self.name(),
                f"IP-CIDR,{self.prefix(ADDRESSES)}{option}",
                f"IP-CIDR,{self.prefix(SOURCES)},src",
                f"SRC-IP-CIDR,{self.prefix(SOURCES)}",
                f"GEOIP,LAN{option}",
                f"GEOIP,{one.choice(['CN', 'US', 'private'])}{option}",
                f"IP-ASN,{one.choice(['15169', '4134'])}{option}",
                f"NETWORK,{one.choice(['tcp', 'udp'])}",
                f"SRC-PORT,{one.choice(['1-39999', '40000-50000', '50001-65535'])}",
                self.narrow(),
            ]
        )

    def prefix(self, addresses: Sequence[str]) -> str:
        """With bits beyond its length, as many configs have it."""
        address = self._random.choice(addresses)
        return f"{address}/{self._random.choice([24, 48, 128] if ':' in address else [8, 16, 24])}"

    def set(self) -> str:
        """The name of a new set, and options."""
        one = self._random
        name = f"set-{len(self.providers)}"
        kind = one.choice(["domain", "ipcidr", "classical"])
        payload = {
            "domain": ["+.b.test", "*.a.example", "a.example", "nas.*", "*.*.a.example"],
            "ipcidr": [self.prefix(ADDRESSES) for _ in range(2)],
            "classical": sorted((self.part(0, True) for _ in range(3)), key=self.resolves),
        }[kind]
        payload = payload if kind == "classical" else one.sample(payload, 2)
        self.providers[name] = {"type": "inline", "behavior": kind, "payload": payload}
        options = one.choice(["", "", ",no-resolve", ",src" if kind == "ipcidr" else ""])
        return f"{name}{options}"


def config_of(
    rules: Sequence[str],
    providers: dict[str, dict[str, object]],
    upstreams: dict[str, int],
    port: int,
    names: int,
) -> dict[str, object]:
    return {
        "socks-port": port,
        "find-process-mode": "off",
        "dns": {
            "enable": True,
            "ipv6": False,
            "enhanced-mode": "redir-host",
            "nameserver": [f"udp://127.0.0.1:{names}"],
        },
        "hosts": HOSTS,
        "proxies": [
            {"name": way, "type": "socks5", "server": "127.0.0.1", "port": upstream, "udp": True}
            for way, upstream in upstreams.items()
        ],
        "rule-providers": providers,
        "rules": list(rules),
    }


def ours(found: Imported, flow: Asked, source_port: int) -> str:
    """The way by which Byway sends a flow."""
    target, source = Target.of(*flow.target), Target.of(flow.source, source_port)
    asked = Flow(1, flow.network, "socks", source, target)
    assert found.config.dns is not None
    listed = None if target.packed else hosts_of(found.config.dns).follow(target.host)[1]
    facts = Facts() if listed is None else Facts(addresses=listed, open=True)
    judge = judge_of(found.config, open_sets(found.config).sets)
    verdict = judge.decide(asked, facts)
    if isinstance(verdict, Lacks):
        address = KNOWN[target.host]
        packed = Target.of(address, 0).packed if address else None
        verdict = judge.decide(asked, Facts(addresses=() if packed is None else (packed,)))
    assert isinstance(verdict, Via), verdict
    return verdict.outbound


def told(asked: Question) -> list[bytes]:
    address = KNOWN.get(asked.name, "")
    return [asked.reply(*([address] if address and asked.kind == "A" else []))]


async def ready(port: int, asked: asyncio.Queue[str]) -> None:
    """Wait until mihomo carries flows: it listens before, and closes what comes too early."""
    async with asyncio.timeout(WITHIN):
        while True:
            with contextlib.suppress(TimeoutError):
                flow = Asked(Network.TCP, "127.0.0.1", ("8.8.8.8", 80))
                await asyncio.wait_for(way_of(flow, port, asked), 0.5)
                return


async def compared(
    chance: Chance, rules: Sequence[str], flows: Sequence[Asked], folder: Path
) -> tuple[list[str], list[str]]:
    """What the two programs do not agree in, and the ways that were taken."""
    ways = [f"way-{at}" for at in range(len(rules) + 1)]
    named = [rule.replace(",WAY", f",{way}") for way, rule in zip(ways, rules, strict=False)]
    home = folder / "mihomo"
    home.mkdir(parents=True)
    for file in ("country.mmdb", "ASN.mmdb", "geoip.dat", "geosite.dat"):
        shutil.copy(mihomo_part(file), home / file)
    differing, taken = [], []
    async with noted(ways, reply=0) as (upstreams, asked), serving(told) as authority:
        port = free_port()
        whole = [*named, f"MATCH,{ways[-1]}"]
        config = config_of(whole, chance.providers, upstreams, port, authority.port)
        found = import_text(json.dumps(config).encode(), "config.yaml", str(home))
        assert [note for note in found.notes if note.what not in TOLD] == []
        with mihomo(folder, config, port):
            await ready(port, asked)
            for flow in flows:
                theirs, source_port = await way_of(flow, port, asked)
                own = ours(found, flow, source_port)
                taken.append(own)
                if own != theirs:
                    rule = named[int(own[4:])] if own != ways[-1] else "MATCH"
                    their_rule = named[int(theirs[4:])] if theirs != ways[-1] else "MATCH"
                    differing.append(f"{flow}: {rule}; mihomo {their_rule}")
    return differing, taken


@pytest.mark.parametrize("seed", range(4))
async def test_byway_and_mihomo_agree(seed: int, tmp_path: Path) -> None:
    chance = Chance(seed)
    rules = [chance.rule("WAY") for _ in range(RULES)]

    differing, taken = await compared(
        chance, rules, [chance.flow() for _ in range(FLOWS)], tmp_path
    )

    assert differing == []
    assert len(set(taken)) > 5, "the first rules take it all"


DIFFERENT = {
    "what another condition of a rule decides is not asked for: mihomo goes by their order": (
        ["AND,((IP-CIDR,192.0.2.0/24),(NETWORK,udp)),WAY", "IP-CIDR,10.0.0.0/8,WAY,no-resolve"],
        "way-2",
    ),
    "inside one rule, what does not resolve does not see what the rest of it asks for": (
        ["OR,((IP-CIDR,192.0.2.0/24),(IP-CIDR,10.0.0.0/8,no-resolve)),WAY", "NETWORK,tcp,WAY"],
        "way-1",
    ),
}


@pytest.mark.parametrize("at", range(len(DIFFERENT)))
async def test_what_differs_by_design(at: int, tmp_path: Path) -> None:
    rules, own = list(DIFFERENT.values())[at]
    flow = Asked(Network.TCP, "127.0.0.1", ("a.example", 80))

    differing, taken = await compared(Chance(0), rules, [flow], tmp_path)

    assert taken == [own]
    assert len(differing) == 1
