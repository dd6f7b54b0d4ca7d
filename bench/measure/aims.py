"""What we want, line by line, and whether this run shows it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from measure.figures import Series, ratio
from measure.programs import FLOOR
from measure.sections import Section
from measure.session import Footprint, Results

SUBJECT = "byway"


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound on a figure of ours relative to another program's."""

    tests: tuple[str, ...]
    figure: str
    against: str
    bound: float
    at_least: bool
    says: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One aim as this run shows it."""

    what: str
    aim: str
    ours: float
    theirs: float | None
    ratio: float | None
    passed: bool


_BULK = ("bulk_down_1", "bulk_down_8", "bulk_up_1", "bulk_up_8")

AIMS = (
    Aim(_BULK, "mb_per_s", "sing-box", 0.95, True, "MB/s"),
    Aim(_BULK, "cpu_s_per_gb", FLOOR, 1.1, False, "CPU s/GB"),
    Aim(("cps",), "per_s", "sing-box", 1.0, True, "per s (better 1.3)"),
    Aim(("pingpong_32",), "p99_us", "sing-box", 1.0, False, "p99 µs"),
    Aim(("udp_64", "udp_1200"), "per_s", "sing-box", 2.0, True, "round trips/s"),
)

KB_PER_FLOW = 8.0
START_MS = 500.0
IDLE_MB = 60.0


def findings(results: Results, section: Section) -> list[Finding]:
    """Every aim that this run can judge."""
    found = [finding for aim in AIMS for finding in _relative(aim, results.series)]
    for footprint in results.footprints:
        if footprint.program == SUBJECT:
            peers = {other.program: other for other in results.footprints}
            found += _absolute(footprint, peers.get(section.reference))
    return found


def _relative(aim: Aim, series: list[Series]) -> Iterator[Finding]:
    for ours in series:
        if ours.program != SUBJECT or ours.test not in aim.tests:
            continue
        value = ours.median(aim.figure)
        theirs = reference(ours, aim.against, series)
        if theirs is None or value is None:
            continue
        other, share = theirs.median(aim.figure), ours.against(theirs, aim.figure)
        if share is None:
            continue
        passed = share >= aim.bound if aim.at_least else share <= aim.bound
        sign = "≥" if aim.at_least else "≤"
        yield Finding(
            what=f"{ours.test}, {ours.entry}: {aim.says}",
            aim=f"{sign} {aim.bound:g} of {aim.against}",
            ours=value,
            theirs=other,
            ratio=share,
            passed=passed,
        )


def reference(row: Series, program: str, series: list[Series]) -> Series | None:
    """The other program's series of the same test: by the same entry, or its only one."""
    same = [s for s in series if s.program == program and s.test == row.test]
    return next((s for s in same if s.entry in (row.entry, "")), None)


def _absolute(ours: Footprint, theirs: Footprint | None) -> Iterator[Finding]:
    def finding(
        what: str, limit: float, value: float, other: float | None, holds: bool = True
    ) -> Finding:
        passed = value < limit and holds
        return Finding(what, f"< {limit:g}", value, other, ratio(value, other), passed)

    if ours.rss_per_flow is not None:
        whole = ours.flows_held == ours.flows_alive == ours.flows and not ours.new_errors
        yield finding(
            f"{ours.flows:,} idle flows ({ours.flows_alive:,} alive at the end,"
            f" {ours.new_per_s or 0:,.0f} new per s meanwhile): KB each",
            KB_PER_FLOW,
            ours.rss_per_flow,
            theirs.rss_per_flow if theirs else None,
            whole and bool(ours.new_per_s),
        )
    if ours.startup_ms:
        other = statistics.median(theirs.startup_ms) if theirs and theirs.startup_ms else None
        yield finding(
            "start to first accepted connection: ms",
            START_MS,
            statistics.median(ours.startup_ms),
            other,
        )
    if ours.idle_rss is not None:
        other = theirs.idle_rss / 1024 if theirs and theirs.idle_rss else None
        yield finding("idle RSS: MB", IDLE_MB, ours.idle_rss / 1024, other)
