"""The cost of judging: a thousand rules and a million names, and a limit that never bites.

Each program listens as the plain proxies do, and every flow of the load is judged by all rules
before it leaves straight away: its target is an address, which no rule names.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from measure.processes import Process
from measure.programs import Program, Start
from measure.site import PORTS, Site

ONE, TEXT, COMPILED, LIMITED = "one rule", "rules, text set", "rules, compiled set", "limited"
RULES, MANY, NAMES = 1000, 100_000, 1_000_000
BULK = ("bulk_down_1", "bulk_down_8", "bulk_up_8")
NOTE = (
    f"`{ONE}`: everything leaves straight. `{TEXT}`: {RULES:,} rules (names, suffixes, keywords,"
    f" prefixes, ports) and before them a set of {NAMES:,} names, read from its text (sing-box:"
    f" from its JSON); `{COMPILED}`: the same, from Byway's cache and sing-box's `.srs`. No rule"
    " takes the flows of the load, so each is judged by all. `limited`: one rule, and limits on the"
    " inbound that are never reached."
)
_SYLLABLES = ("ba", "co", "di", "fu", "ga", "he", "ji", "ko", "lu", "me")
_RATE, _QUOTA = "100GB/s", "100000GB"


def names(how_many: int = NAMES) -> list[str]:
    """Names as block lists have them: a few labels, no two alike, no order."""
    made = []
    for number in range(how_many):
        spelt = "".join(_SYLLABLES[int(digit)] for digit in f"{number * 7_919_317 % 10**7:07}")
        made.append(f"{spelt[8:]}.{spelt[:8]}{number % 97}.example")
    return made


def asked(how_many: int = RULES) -> list[tuple[str, list[str]]]:
    """Rules: what each asks for, and the values. No flow of the load has any of them."""
    rules: list[tuple[str, list[str]]] = []
    for number in range(how_many // 5):
        rules += [
            ("domain", [f"www.site-{number}.example"]),
            ("domain_suffix", [f"site-{number}.example", f"site-{number}.test"]),
            ("domain_keyword", [f"word{number}x"]),
            ("ip", [f"100.{number // 256}.{number % 256}.0/24"]),
            ("port", [str(20000 + number)]),
        ]
    return rules


def _files(site: Site, executable: str, variant: str) -> Path:
    """The set as a file, made once for a run: text or, for sing-box, JSON and its compiled form."""
    text = site.folder / "names.txt"
    if not text.exists():
        text.write_text("".join(f"+.{name}\n" for name in names()))
    if Path(executable).name.startswith("byway"):
        return text
    source = site.folder / "names.json"
    if not source.exists():
        rule = {"domain_suffix": names()}
        source.write_text(json.dumps({"version": 3, "rules": [rule]}))
    if variant == TEXT:
        return source
    compiled = source.with_suffix(".srs")
    if not compiled.exists():
        command = [executable, "rule-set", "compile", str(source), "-o", str(compiled)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    return compiled


def _byway(variant: str) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        inbound: dict[str, Any] = {"type": "mixed", "listen": f"127.0.0.1:{port}"}
        settings: dict[str, Any] = {
            "log": {"level": "warning", "flows": False},
            "control": {"socket": "off"},
            "limits": {"flows_per_source": 16384},
            "inbounds": {"bench": inbound},
            "rules": [{"otherwise": "direct"}],
        }
        if variant == LIMITED:
            inbound["limit"] = {"up": _RATE, "down": _RATE}
            inbound["limit"] |= {"quota": _QUOTA, "flows": 100_000}
        if variant in (TEXT, COMPILED):
            file = _files(site, "byway", variant)
            settings["sets"] = {"million": {"type": "file", "path": str(file), "format": "clash"}}
            rules: list[dict[str, Any]] = [{"set": "million", "to": "reject"}]
            rules += [{key: values, "to": "reject"} for key, values in asked()]
            settings["rules"] = rules + settings["rules"]
        name = f"byway-{variant.replace(' ', '-').replace(',', '')}"
        config = site.write(f"{name}.json", json.dumps(settings))
        command = [executable, "run", "-c", str(config)]
        # A cache that cannot be written is none: each start reads the text.
        cache = "/dev/null/none" if variant == TEXT else str(site.folder)
        return [Process(site.near, command, site.folder / f"{name}.log", {"XDG_CACHE_HOME": cache})]

    return start


def _sing_box(variant: str) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        mixed = {"type": "mixed", "listen": "127.0.0.1", "listen_port": port}
        rules: list[dict[str, Any]] = []
        sets: list[dict[str, Any]] = []
        if variant != ONE:
            file = _files(site, executable, variant)
            form = "source" if variant == TEXT else "binary"
            sets = [{"tag": "million", "type": "local", "format": form, "path": str(file)}]
            rules = [{"rule_set": "million", "action": "reject"}]
            rules += [{**_in_its_words(key, values), "action": "reject"} for key, values in asked()]
        settings = {
            "log": {"level": "error"},
            "inbounds": [mixed],
            "outbounds": [{"type": "direct", "tag": "direct"}],
            "route": {"rules": rules, "rule_set": sets, "final": "direct"},
        }
        name = f"sing-box-{variant.replace(' ', '-').replace(',', '')}"
        config = site.write(f"{name}.json", json.dumps(settings))
        command = [executable, "run", "-c", str(config)]
        return [Process(site.near, command, site.folder / f"{name}.log")]

    return start


def _in_its_words(key: str, values: list[str]) -> dict[str, Any]:
    if key == "ip":
        return {"ip_cidr": values}
    if key == "port":
        return {"port": [int(value) for value in values]}
    return {key: values}


@dataclass(slots=True)
class SetWeight:
    """What the million names take in one program; None where it cannot be told apart."""

    program: str
    text_s: float | None = None
    """Reading the text (sing-box: compiling its JSON, a process of its own)."""
    compiled_ms: float | None = None
    """Loading what is compiled (sing-box: a whole process that loads it and asks once)."""
    file_mb: float | None = None
    memory_mb: float | None = None
    """Growth of the process (sing-box: the greatest size of that process)."""
    hit_ns: float | None = None
    miss_ns: float | None = None


_LOOK_UPS = """
import json, resource, sys, time
from pathlib import Path
from byway.engine.sets import EngineLists

def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

text, kept = Path(sys.argv[1]), Path(sys.argv[2])
data = text.read_bytes()
begin = time.perf_counter()
lists = EngineLists.read(data, "clash")
read = time.perf_counter() - begin
stamp = bytes(32)
lists.save(kept, stamp)
lines = data.split(b"\\n")
hits = ["www" + line[1:].decode() for line in lines[5::5003] if line]
misses = [name + "x" for name in hits]
del lists, data, lines
before = rss()
begin = time.perf_counter()
lists = EngineLists.load(kept, stamp)
load = time.perf_counter() - begin
holds = lists.has_name
def asked(names):
    best = 1e9
    for _ in range(20):
        begin = time.perf_counter()
        for name in names:
            holds(name)
        best = min(best, (time.perf_counter() - begin) / len(names))
    return best * 1e9
assert all(map(holds, hits)) and not any(map(holds, misses))
hit, miss = asked(hits), asked(misses)
print(json.dumps({"text_s": read, "compiled_ms": load * 1e3, "file_mb": kept.stat().st_size / 1e6,
    "memory_mb": lists.sizes[3] / 1e6, "hit_ns": hit, "miss_ns": miss}))
"""
_WEIGHED = """
import json, resource, subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, capture_output=True)
taken = time.perf_counter() - begin
print(json.dumps({"s": taken, "mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}))
"""


def weigh_sets(site: Site, found: Sequence[tuple[Program, str]]) -> list[dict[str, Any]]:
    """Look-up, load and size of the set by itself, for each program that is there."""
    weights = []
    for name, executable in {program.name: executable for program, executable in found}.items():
        weigh = {"byway": _byway_set, "sing-box": _sing_box_set}.get(name)
        if weigh is not None:
            weights.append(asdict(weigh(site, executable)))
        if name == "byway":
            weights.append(asdict(_many_rules(site, executable)))
    return weights


def _byway_set(site: Site, executable: str) -> SetWeight:
    text = _files(site, "byway", TEXT)
    told = _told([sys.executable, "-c", _LOOK_UPS, str(text), str(site.folder / "kept.set")])
    return SetWeight("byway", **told)


def _many_rules(site: Site, executable: str) -> SetWeight:
    """A config of very many rules, read and checked by a process of its own."""
    rules = [{key: values, "to": "reject"} for key, values in asked(MANY)]
    settings = {
        "inbounds": {"home": {"type": "mixed", "listen": "127.0.0.1:1080"}},
        "rules": [*rules, {"otherwise": "direct"}],
    }
    config = site.write("byway-many.json", json.dumps(settings))
    told = _told([sys.executable, "-c", _WEIGHED, executable, "check", "-c", str(config)])
    return SetWeight(f"byway check, {MANY:,} rules", text_s=told["s"], memory_mb=told["mb"])


def _sing_box_set(site: Site, executable: str) -> SetWeight:
    source = _files(site, executable, TEXT)
    compiled, again = _files(site, executable, COMPILED), site.folder / "again.srs"
    weigh = [sys.executable, "-c", _WEIGHED, executable, "rule-set"]
    made = _told([*weigh, "compile", str(source), "-o", str(again)])
    match = _told([*weigh, "match", "-f", "binary", str(compiled), "nothing.invalid"])
    return SetWeight(
        "sing-box",
        text_s=made["s"],
        compiled_ms=1e3 * match["s"],
        file_mb=compiled.stat().st_size / 1e6,
        memory_mb=match["mb"],
    )


def _told(command: Sequence[str]) -> dict[str, float]:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _programs() -> tuple[Program, ...]:
    ports = count(PORTS.start)
    cps, idle = ("cps",), 3000
    loads: dict[str, tuple[str, ...]] = {ONE: (*cps, *BULK), LIMITED: BULK}
    made = []
    for variant in (ONE, TEXT, COMPILED, LIMITED):
        for name, start in (("byway", _byway), ("sing-box", _sing_box)):
            if name == "sing-box" and variant == LIMITED:
                continue
            made.append(
                Program(
                    name,
                    name,
                    start(variant),
                    {"socks5": next(ports)},
                    variant=variant,
                    tests=loads.get(variant, cps),
                    weighed=variant != LIMITED,
                    idle_flows=idle,
                    version=("version",) if name == "sing-box" else ("--version",),
                )
            )
    return tuple(made)


PROGRAMS = _programs()
