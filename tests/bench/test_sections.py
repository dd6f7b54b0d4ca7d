"""Who takes part in what."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from measure import shadowsocks
from measure.aims import AIMS
from measure.programs import FLOOR, MissingError, Program
from measure.sections import (
    PROXIES,
    SECTIONS,
    SHADOWSOCKS,
    Section,
    chosen_programs,
    chosen_tests,
    ways,
)
from measure.site import PORTS


def named(name: str) -> Program:
    return next(program for program in PROXIES.programs if program.name == name)


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)
def test_ports_are_distinct_and_kept_free(section: Section) -> None:
    # One program may have one port for several entries, but no two programs share one.
    ports = [port for program in section.programs for port in set(program.entries.values())]
    assert len(set(ports)) == len(ports)
    assert set(ports) <= set(PORTS)


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)
def test_a_section_compares_with_one_of_its_own(section: Section) -> None:
    assert section.reference in {program.name for program in section.programs}
    assert len({test.name for test in section.tests}) == len(section.tests)
    assert len({program.key for program in section.programs}) == len(section.programs)
    known = {test.name for test in section.tests}
    named = {name for program in section.programs for name in program.tests}
    assert named | {name for aim in AIMS[section.name] for name in aim.tests} <= known


def test_every_method_has_a_peer_and_a_floor() -> None:
    for method in shadowsocks.METHODS:
        alike = {p.name for p in SHADOWSOCKS.programs if p.variant == method}
        assert {"floor", "byway", "sing-box"} <= alike
    (bulk,) = chosen_tests(SHADOWSOCKS, ["bulk_up_8"])
    shown = {(way.name, way.shown) for way in ways(bulk, SHADOWSOCKS.programs, straight=True)}
    assert ("floor", "aes-128-gcm") in shown
    assert ("direct", "") in shown


def test_keys_have_the_length_of_their_method() -> None:
    for method, size in (("2022-blake3-aes-128-gcm", 16), ("2022-blake3-chacha20-poly1305", 32)):
        assert len(base64.b64decode(shadowsocks.secret(method))) == size


def test_a_variant_narrows_what_is_chosen() -> None:
    keys = [p.key for p in chosen_programs(SHADOWSOCKS, ["byway", "floor", "aes-128-gcm"])]
    assert keys == ["floor aes-128-gcm", "byway aes-128-gcm"]
    keys = [p.key for p in chosen_programs(SHADOWSOCKS, ["2022-blake3-aes-256-gcm"])]
    peers = ["floor", "byway", "sing-box", "mihomo", "shadowsocks-rust"]
    assert [key.split()[0] for key in keys] == peers


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
