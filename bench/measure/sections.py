"""What is measured: each section by its programs and tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from measure import rules, shadowsocks, trojan, tun
from measure.programs import CEILING, FLOOR, OPTIONAL, PROGRAMS, Program
from measure.site import Site


@dataclass(frozen=True, slots=True)
class Test:
    """One load. `rate` is the figure that says how fast, `cost` what it took."""

    name: str
    title: str
    words: tuple[str, ...]
    seconds: float
    rate: str
    unit: str
    cost: str = "cpu_us_per_op"
    cost_unit: str = "CPU µs each"
    packets: bool = False
    entries: tuple[str, ...] = ()
    """Only for clients that speak one of these; empty: all."""

    def suits(self, program: Program, entry: str) -> bool:
        if program.tests and self.name not in program.tests:
            return False
        if self.packets and not (program.packets and entry in ("socks5", "tun")):
            return False
        return not self.entries or entry in self.entries


@dataclass(frozen=True, slots=True)
class Section:
    """Programs that do the same thing, and the loads they are compared by."""

    name: str
    title: str
    programs: tuple[Program, ...]
    tests: tuple[Test, ...]
    reference: str
    """The program whose figures the ratios are taken to, by the same entry."""
    note: str = ""
    """What a reader of the report must know of it."""
    weigh_sets: Callable[[Site, Sequence[tuple[Program, str]]], list[dict[str, Any]]] | None = None
    """Weighs what these programs look flows up in, by itself."""


@dataclass(frozen=True, slots=True)
class Way:
    """A program by one of its entries; without a program, the straight path."""

    program: Program | None
    entry: str

    @property
    def name(self) -> str:
        return self.program.name if self.program else CEILING

    @property
    def via(self) -> str:
        return self.program.via(self.entry) if self.program else "direct"

    @property
    def target(self) -> str:
        return self.program.target if self.program else ""

    @property
    def key(self) -> str:
        return self.program.key if self.program else CEILING

    @property
    def shown(self) -> str:
        """What rows are compared by: a variant, else the entry; floor and ceiling have none."""
        if self.program and self.program.variant:
            return self.program.variant
        return "" if self.name in (FLOOR, CEILING) else self.entry


def _bulk(direction: str, conns: int, seconds: float = 2.3) -> Test:
    return Test(
        name=f"bulk_{direction}_{conns}",
        title=f"Bulk {direction}, {conns} connection{'s' * (conns > 1)}",
        words=("bulk", "--dir", direction, "--conns", str(conns)),
        seconds=seconds,
        rate="mb_per_s",
        unit="MB/s",
        cost="cpu_s_per_gb",
        cost_unit="CPU s/GB",
    )


def _rate(name: str, title: str, words: str, seconds: float, entries: tuple[str, ...] = ()) -> Test:
    return Test(name, title, tuple(words.split()), seconds, "per_s", "per s", entries=entries)


def _udp(size: int, seconds: float = 2.0) -> Test:
    return Test(
        name=f"udp_{size}",
        title=f"UDP echo, {size} bytes, 4 flows with 32 in flight: round trips",
        words=("udp", "--conns", "4", "--window", "32", "--size", str(size)),
        seconds=seconds,
        rate="per_s",
        unit="per s",
        packets=True,
    )


def _cps(seconds: float) -> Test:
    title = "New connections, 32 at once: connect, 64 B request, 64 B reply, close"
    return _rate("cps", title, "cps --conns 32", seconds)


def _bulks(seconds: float) -> tuple[Test, ...]:
    return tuple(_bulk(way, conns, seconds) for way in ("down", "up") for conns in (1, 8))


_STREAMS = (
    *_bulks(2.3),
    _cps(2.5),
    _rate("pingpong_32", "Request and reply on 32 kept connections", "pingpong --conns 32", 2.0),
    _rate(
        "pingpong_1",
        "Request and reply on 1 kept connection",
        "pingpong --conns 1",
        1.2,
        entries=("socks5", "plain"),
    ),
)

PROXIES = Section(
    name="proxies",
    title="SOCKS5 and HTTP CONNECT to direct",
    programs=PROGRAMS,
    tests=(*_STREAMS, _udp(64), _udp(1200)),
    reference="sing-box",
)


def _pair_tests(seconds: float) -> tuple[Test, ...]:
    return (*_bulks(seconds), _cps(1.5 * seconds), _udp(64, seconds), _udp(1200, seconds))


_PAIR_NOTE = (
    "Each is a pair: a client, which is met by SOCKS5, and a server beside the target. Processor"
    " seconds, memory and start are of both together. The floor is one thread that does what the"
    " two ends cannot do without, two passes of the cipher and four copies through sockets, and"
    " nothing else; its MB/s are of one processor."
)

SHADOWSOCKS = Section(
    name="shadowsocks",
    title="Shadowsocks: client and server",
    programs=shadowsocks.PROGRAMS,
    tests=_pair_tests(1.1),  # for twenty pairs
    reference="sing-box",
    note=_PAIR_NOTE,
)
TROJAN = Section(
    name="trojan",
    title="Trojan: client and server",
    programs=trojan.PROGRAMS,
    tests=_pair_tests(2.0),
    reference="sing-box",
    note=f"{_PAIR_NOTE} {trojan.NOTE}",
)

RULES = Section(
    name="rules",
    title="A thousand rules, a million names, and limits",
    programs=rules.PROGRAMS,
    tests=(
        _cps(2.5),
        *(_bulk(way, conns, 2.0) for way, conns in (("down", 1), ("down", 8), ("up", 8))),
    ),
    reference="sing-box",
    note=rules.NOTE,
    weigh_sets=rules.weigh_sets,
)

TUN = Section(
    name="tun",
    title="TUN devices to direct",
    programs=tun.PROGRAMS,
    tests=(*_bulks(2.0), _cps(2.0), _udp(64), _udp(1200)),
    reference="sing-box mixed",
    note=tun.NOTE,
)

SECTIONS: dict[str, Section] = {
    section.name: section for section in (PROXIES, SHADOWSOCKS, TROJAN, RULES, TUN)
}


def chosen_programs(section: Section, only: Sequence[str]) -> list[Program]:
    """All, or those named; variants named beside narrow it. Raises ValueError: nobody's name."""
    known = [*section.programs, *(OPTIONAL if section is PROXIES else ())]
    names = list(dict.fromkeys(program.name for program in known))
    variants = list(dict.fromkeys(program.variant for program in known if program.variant))
    unknown = [word for word in only if word not in (CEILING, *names, *variants)]
    if unknown:
        there = ", ".join([CEILING, *names, *variants])
        raise ValueError(f"unknown program {unknown[0]!r}; there are {there}")
    if not only:
        return list(section.programs)
    by_variant = [word for word in only if word in variants]
    by_name = [word for word in only if word not in variants]
    if not by_name:
        known = list(section.programs)
    return [
        program
        for program in known
        if (not by_name or program.name in by_name)
        and (not by_variant or not program.variant or program.variant in by_variant)
    ]


def chosen_tests(section: Section, words: Sequence[str]) -> list[Test]:
    """All, or those whose name contains one of the words."""
    return [t for t in section.tests if not words or any(word in t.name for word in words)]


def ways(test: Test, programs: Sequence[Program], straight: bool) -> list[Way]:
    """Who takes part in a test, in the order of their turns."""
    found = [
        Way(program, entry)
        for program in programs
        for entry in program.entries
        if test.suits(program, entry)
    ]
    return [Way(None, "direct"), *found] if straight else found
