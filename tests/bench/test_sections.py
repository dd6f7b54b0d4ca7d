"""Who takes part in what."""

from __future__ import annotations

from pathlib import Path

import pytest

from measure.programs import FLOOR, MissingError, Program
from measure.sections import PROXIES, SECTIONS, chosen_programs, chosen_tests, ways
from measure.site import PORTS


def named(name: str) -> Program:
    return next(program for program in PROXIES.programs if program.name == name)


def test_ports_are_distinct_and_kept_free() -> None:
    # One program may have one port for several entries, but no two programs share one.
    ports = [port for program in PROXIES.programs for port in set(program.entries.values())]
    assert len(set(ports)) == len(ports)
    assert set(ports) <= set(PORTS)


@pytest.mark.parametrize("section", SECTIONS.values())
def test_a_section_compares_with_one_of_its_own(section: object) -> None:
    assert section is PROXIES
    assert PROXIES.reference in {program.name for program in PROXIES.programs}
    assert len({test.name for test in PROXIES.tests}) == len(PROXIES.tests)


def test_choosing() -> None:
    assert [p.name for p in chosen_programs(PROXIES, [])] == [p.name for p in PROXIES.programs]
    assert [p.name for p in chosen_programs(PROXIES, ["pproxy", "byway"])] == ["byway", "pproxy"]
    assert chosen_programs(PROXIES, ["direct"]) == []
    with pytest.raises(ValueError, match="unknown program 'squid'; there are direct, floor, byway"):
        chosen_programs(PROXIES, ["squid"])
    assert [t.name for t in chosen_tests(PROXIES, ["udp", "cps"])] == ["cps", "udp_64", "udp_1200"]
    assert chosen_tests(PROXIES, ["startup"]) == []


def test_turns_go_through_all_entries_of_each() -> None:
    (cps,) = chosen_tests(PROXIES, ["cps"])
    programs = [named(FLOOR), named("byway"), named("microsocks"), named("tinyproxy")]
    turns = [(way.name, way.entry, way.shown) for way in ways(cps, programs, straight=True)]
    assert turns == [
        ("direct", "direct", ""),
        ("floor", "plain", ""),
        ("byway", "socks5", "socks5"),
        ("byway", "http", "http"),
        ("microsocks", "socks5", "socks5"),
        ("tinyproxy", "http", "http"),
    ]


def test_packets_go_only_where_they_are_carried() -> None:
    (udp,) = chosen_tests(PROXIES, ["udp_64"])
    turns = ways(udp, PROXIES.programs, straight=False)
    assert {way.entry for way in turns} == {"socks5"}
    assert "microsocks" not in {way.name for way in turns}
    assert "byway" in {way.name for way in turns}


def test_a_variant_takes_part_in_its_own_tests_only() -> None:
    variant = named("byway+log")
    parts = [test.name for test in PROXIES.tests if test.suits(variant, "socks5")]
    assert parts == ["cps"]


def test_locating(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program = Program("x", "not-a-program", named("sing-box").start, {"socks5": 1})
    with pytest.raises(MissingError, match="PEER_NOTAPROGRAM is not set"):
        program.locate()
    monkeypatch.setenv("PEER_NOTAPROGRAM", "/opt/there")
    assert program.locate() == "/opt/there"
