"""What is measured. A later part (shadowsocks pair, trojan pair, TUN) is one more section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from measure.programs import CEILING, FLOOR, OPTIONAL, PROGRAMS, Program


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
        if self.packets and not (program.packets and entry == "socks5"):
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
    def shown(self) -> str:
        """The entry as the report names it: the floor and the ceiling have none."""
        return "" if self.name in (FLOOR, CEILING) else self.entry


def _bulk(direction: str, conns: int) -> Test:
    return Test(
        name=f"bulk_{direction}_{conns}",
        title=f"Bulk {direction}, {conns} connection{'s' * (conns > 1)}",
        words=("bulk", "--dir", direction, "--conns", str(conns)),
        seconds=2.3,
        rate="mb_per_s",
        unit="MB/s",
        cost="cpu_s_per_gb",
        cost_unit="CPU s/GB",
    )


def _rate(name: str, title: str, words: str, seconds: float, entries: tuple[str, ...] = ()) -> Test:
    return Test(name, title, tuple(words.split()), seconds, "per_s", "per s", entries=entries)


def _udp(size: int) -> Test:
    return Test(
        name=f"udp_{size}",
        title=f"UDP echo, {size} bytes, 4 flows with 32 in flight: round trips",
        words=("udp", "--conns", "4", "--window", "32", "--size", str(size)),
        seconds=2.0,
        rate="per_s",
        unit="per s",
        packets=True,
    )


_STREAMS = (
    _bulk("down", 1),
    _bulk("down", 8),
    _bulk("up", 1),
    _bulk("up", 8),
    _rate(
        "cps",
        "New connections, 32 at once: connect, 64 B request, 64 B reply, close",
        "cps --conns 32",
        2.5,
    ),
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

SECTIONS: dict[str, Section] = {section.name: section for section in (PROXIES,)}


def chosen_programs(section: Section, only: Sequence[str]) -> list[Program]:
    """All, or those named. Raises ValueError for a name that is nobody's."""
    known = {program.name: program for program in (*section.programs, *OPTIONAL)}
    unknown = [name for name in only if name not in known and name != CEILING]
    if unknown:
        names = ", ".join([CEILING, *known])
        raise ValueError(f"unknown program {unknown[0]!r}; there are {names}")
    return [known[name] for name in known if name in only] if only else list(section.programs)


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
