"""A hundred thousand rules and a million names: read, checked, judged by."""

from __future__ import annotations

from pathlib import Path

from byway.config import judge_of, load_text, open_sets
from byway.flow import Flow, Network, Target
from byway.rules import NO_FACTS, Facts, Judge, Lacks, Via

NAMELESS = Facts(addresses=())
RULES, NAMES = 100_000, 1_000_000


def config(folder: Path) -> str:
    """Five kinds of rules in turns, a set before them, and rules that no table can hold."""
    lines = [
        "inbounds: {home: {type: mixed, listen: 'unix:/x'}}",
        "outbounds: {up: {type: socks, server: 'h:1'}}",
        f"sets: {{million: {{type: file, path: {folder / 'names.txt'}}}}}",
        "rules:",
        "  - {set: million, to: up}",
        "  - {domain_suffix: example.org, port: 25, to: drop}",
    ]
    for at in range(RULES // 5):
        lines += [
            f"  - {{domain: www.site-{at}.test, to: up}}",
            f"  - {{domain_suffix: [site-{at}.test, site-{at}.example], to: direct}}",
            f"  - {{domain_keyword: word{at}x, to: up}}",
            f"  - {{port: {1024 + at}, to: up}}",
            f"  - {{ip: 10.{at // 256}.{at % 256}.0/24, to: up}}",
        ]
    return "\n".join([*lines, "  - otherwise: direct", ""])


def said(judge: Judge, target: str, facts: Facts = NAMELESS) -> str:
    flow = Flow(1, Network.TCP, "home", None, Target.parse(target))
    answer = judge.decide(flow, facts)
    if isinstance(answer, Lacks):
        return answer.fact.value
    return answer.outbound if isinstance(answer, Via) else type(answer).__name__


def test_a_hundred_thousand_rules_and_a_million_names(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("".join(f"domain:n{at}.ads.example\n" for at in range(NAMES)))
    before = load_text(config(tmp_path), "x.yaml")
    sets = open_sets(before, tmp_path / "cache")
    assert not sets.problems
    judge = judge_of(before, sets.sets)

    assert said(judge, "n999999.ads.example:80") == "up"  # the set
    assert said(judge, "a.example.org:25") == "Drop"  # a rule of two keys
    assert said(judge, "www.site-19999.test:80") == "up"
    assert said(judge, "a.site-19999.example:80") == "direct"
    assert said(judge, "my-word19998x.net:80") == "up"
    assert said(judge, "my-word19998x.net:80", NO_FACTS) == "address"  # asked for before it
    assert said(judge, "my-word0x.net:80", NO_FACTS) == "up"
    assert said(judge, "10.78.31.9:80") == "up"
    assert said(judge, "192.0.2.1:21023") == "up"
    assert said(judge, "192.0.2.1:80") == "direct"

    # The next start, or a reload, finds the list in its cache.
    (cached,) = (tmp_path / "cache").iterdir()
    written = cached.stat().st_mtime_ns
    again = open_sets(before, tmp_path / "cache")
    assert len(again.sets["million"].contents) == NAMES
    assert cached.stat().st_mtime_ns == written
