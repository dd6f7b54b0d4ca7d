"""Real lists, packed by sing-box and by mihomo, hold for Byway what they hold for these programs.

The names are sampled from real lists: entries, what is below and above them, and near misses.
BYWAY_SAMPLED_NAMES asks for more of them.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from byway.config.rules.compiled import read_list
from byway.flow import Flow, Network, Target
from byway.rules import Facts
from byway.rules.published import unpacked
from byway.rules.sets import Contents
from tests.interop.programs import free_port, running
from tests.interop.test_verdicts import Asked, noted, way_of
from tests.interop.upstreams import mihomo, mihomo_part, sing_box_program

pytestmark = pytest.mark.interop
LISTS = ("google", "category-ads-all", "apple@cn", "netflix")
SAMPLED = int(os.environ.get("BYWAY_SAMPLED_NAMES", "400"))
MARKS = {"keyword": "domain_keyword", "regex": "domain_regex"}


def lines_of(part: str) -> list[str]:
    return unpacked("geosite", mihomo_part("geosite.dat").read_bytes(), part).decode().split()


def rule_of(lines: list[str]) -> dict[str, list[str]]:
    """The lines as one rule of sing-box."""
    rule: dict[str, list[str]] = {}
    for line in lines:
        mark, _, value = line.partition(":")
        if mark in MARKS:
            rule.setdefault(MARKS[mark], []).append(value)
        elif line.startswith("="):
            rule.setdefault("domain", []).append(line[1:])
        else:
            rule.setdefault("domain_suffix", []).append(line.removeprefix("domain:"))
    return rule


def contents(form: str, data: bytes, part: str = "") -> Contents:
    place = Path("/dev/null/byway")
    found, bad = read_list(lambda: data, len(data), form, place, "", "", part=part)
    assert bad == []
    return found


def holds(found: Contents, host: str) -> bool:
    flow = Flow(1, Network.TCP, "in", None, Target.of(host, 443))
    return found.match(flow, Facts(addresses=())) is True


def way_by(sets: list[Contents], name: str) -> str:
    """The first of the lists that has a name."""
    return next((part for part, one in zip(LISTS, sets, strict=True) if holds(one, name)), "rest")


def names(count: int) -> list[str]:
    chance, found = random.Random(7), set[str]()
    pool = [line for part in LISTS for line in lines_of(part) if ":" not in line]
    while len(found) < count:
        name = chance.choice(pool).removeprefix("=")
        found.add(
            chance.choice(
                [name, f"x.{name}", f"a.b.{name}", f"x{name}", name.partition(".")[2], f"{name}.x"]
            )
        )
    return sorted(name for name in found if name and not name[-1].isdigit())


def test_what_sing_box_packs(tmp_path: Path) -> None:
    lines = lines_of("category-ads-all")
    for version in (1, 3):
        source, packed = tmp_path / f"{version}.json", tmp_path / f"{version}.srs"
        source.write_text(json.dumps({"version": version, "rules": [rule_of(lines)]}))
        command = [str(sing_box_program()), "rule-set", "compile", "-o", str(packed), str(source)]
        subprocess.run(command, check=True, timeout=60)
        ours, theirs = contents("sing-box", source.read_bytes()), packed.read_bytes()
        found = contents("srs", theirs)

        assert len(found.names)
        for name in names(SAMPLED * 5):
            assert holds(found, name) == holds(ours, name), name


def test_what_mihomo_packs(tmp_path: Path) -> None:
    names_file, packed = tmp_path / "names.txt", tmp_path / "names.mrs"
    lines = [line for line in lines_of("category-ads-all") if ":" not in line]
    text = [line[1:] if line.startswith("=") else f"+.{line}" for line in lines]
    text += ["*.one.example", "x.*.example", "+.*.two.example", ".below.example"]
    names_file.write_text("\n".join(text))
    prefixes_file, packed_prefixes = tmp_path / "ip.txt", tmp_path / "ip.mrs"
    places = unpacked("geoip", mihomo_part("geoip.dat").read_bytes(), "telegram")
    prefixes_file.write_bytes(places)
    for kind, source, to in (
        ("domain", names_file, packed),
        ("ipcidr", prefixes_file, packed_prefixes),
    ):
        command = [
            str(mihomo_part("mihomo")),
            "convert-ruleset",
            kind,
            "text",
            str(source),
            str(to),
        ]
        subprocess.run(command, check=True, timeout=60, cwd=tmp_path, env={"HOME": str(tmp_path)})

    found, ours = contents("mrs", packed.read_bytes()), contents("clash", names_file.read_bytes())
    odd = ["a.one.example", "a.b.one.example", "one.example", "x.y.example", "x.y.z.example"]
    odd += ["two.example", "a.two.example", "a.b.two.example", "below.example", "a.below.example"]
    for name in [*names(SAMPLED * 5), *odd]:
        assert holds(found, name) == holds(ours, name), name
    found, ours = contents("mrs", packed_prefixes.read_bytes()), contents("lines", places)
    chance = random.Random(3)
    for prefix in places.decode().split():
        address = prefix.partition("/")[0]
        assert holds(found, address)
        near = f"91.108.{chance.randrange(256)}.{chance.randrange(256)}"
        assert holds(found, near) == holds(ours, near), near


async def test_the_verdicts_of_mihomo(tmp_path: Path) -> None:
    home = tmp_path / "mihomo"
    home.mkdir()
    for file in ("geosite.dat", "geoip.dat", "country.mmdb", "ASN.mmdb"):
        (home / file).symlink_to(mihomo_part(file))
    data = mihomo_part("geosite.dat").read_bytes()
    sets = [contents("geosite", data, part) for part in LISTS]
    ways = [*LISTS, "rest"]
    async with noted(ways, reply=0) as (upstreams, asked):
        port = free_port()
        config = {
            "socks-port": port,
            "find-process-mode": "off",
            "proxies": [
                {"name": way, "type": "socks5", "server": "127.0.0.1", "port": upstream}
                for way, upstream in upstreams.items()
            ],
            "rules": [*(f"GEOSITE,{part},{part}" for part in LISTS), "MATCH,rest"],
        }
        with mihomo(tmp_path, config, port):
            for name in names(SAMPLED):
                theirs, _ = await way_of(Asked(Network.TCP, "127.0.0.1", (name, 443)), port, asked)
                ours = next(
                    (way for way, one in zip(LISTS, sets, strict=True) if holds(one, name)), "rest"
                )
                assert ours == theirs, name


async def test_the_verdicts_of_sing_box(tmp_path: Path) -> None:
    packed: list[Path] = []
    for part in LISTS:
        source, file = tmp_path / f"{len(packed)}.json", tmp_path / f"{len(packed)}.srs"
        source.write_text(json.dumps({"version": 2, "rules": [rule_of(lines_of(part))]}))
        command = [str(sing_box_program()), "rule-set", "compile", "-o", str(file), str(source)]
        subprocess.run(command, check=True, timeout=60)
        packed.append(file)
    sets = [contents("srs", file.read_bytes()) for file in packed]
    ways = [*LISTS, "rest"]
    async with noted(ways, reply=0) as (upstreams, asked):
        port = free_port()
        config = {
            "log": {"level": "warn"},
            "inbounds": [{"type": "socks", "listen": "127.0.0.1", "listen_port": port}],
            "outbounds": [
                {"type": "socks", "tag": way, "server": "127.0.0.1", "server_port": upstream}
                for way, upstream in upstreams.items()
            ],
            "route": {
                "rule_set": [
                    {"type": "local", "tag": part, "format": "binary", "path": str(file)}
                    for part, file in zip(LISTS, packed, strict=True)
                ],
                "rules": [{"rule_set": [part], "outbound": part} for part in LISTS],
                "final": "rest",
            },
        }
        (tmp_path / "box.json").write_text(json.dumps(config))
        run = [str(sing_box_program()), "run", "-c", str(tmp_path / "box.json")]
        with running(run, tmp_path / "box.log", port):
            for name in names(SAMPLED):
                theirs, _ = await way_of(Asked(Network.TCP, "127.0.0.1", (name, 443)), port, asked)
                ours = next(
                    (way for way, one in zip(LISTS, sets, strict=True) if holds(one, name)), "rest"
                )
                assert ours == theirs, name
