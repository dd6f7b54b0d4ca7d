"""What we want, line by line, and whether this run shows it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from measure import rules, tun
from measure.figures import Series, ratio
from measure.programs import FLOOR
from measure.sections import Section
from measure.session import Footprint, Results
from measure.shadowsocks import METHODS

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
    variants: tuple[str, ...] = ()
    """Only for these; empty: all."""
    beside: str = ""
    """The variant to compare with; empty: the same."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What memory and start may come to; None: no aim."""

    kb_per_flow: float | None = None
    start_ms: float | None = None
    idle_mb: float | None = None
    share: float | None = None
    """Of what the section's reference takes, for each flow and for the idle processes."""


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

_UDP = ("udp_64", "udp_1200")
_CHACHA = ("chacha20-ietf-poly1305",)

AIMS: dict[str, tuple[Aim, ...]] = {
    "proxies": (
        Aim(_BULK, "mb_per_s", "sing-box", 0.95, True, "MB/s"),
        Aim(_BULK, "cpu_s_per_gb", FLOOR, 1.1, False, "CPU s/GB"),
        Aim(("cps",), "per_s", "sing-box", 1.3, True, "per s"),
        Aim(("cps",), "per_s", "mihomo", 1.0, True, "per s"),
        Aim(("pingpong_32",), "p99_us", "sing-box", 1.0, False, "p99 µs"),
        Aim(_UDP, "per_s", "sing-box", 2.0, True, "round trips/s"),
    ),
    "shadowsocks": (
        Aim(
            _BULK,
            "mb_per_s",
            "sing-box",
            1.3,
            True,
            "MB/s",
            tuple(m for m in METHODS if m not in _CHACHA),
        ),
        Aim(_BULK, "mb_per_s", "sing-box", 1.8, True, "MB/s", _CHACHA),
        Aim(_BULK, "cpu_s_per_gb", "sing-box", 0.75, False, "CPU s/GB"),
        Aim(("cps",), "per_s", "sing-box", 1.2, True, "per s"),
        Aim(("cps",), "per_s", "shadowsocks-libev", 1.0, True, "per s (what we aim at)"),
        Aim(_UDP, "per_s", "sing-box", 1.5, True, "round trips/s"),
    ),
    "rules": (
        Aim(("cps",), "per_s", SUBJECT, 0.9, True, "per s", (rules.COMPILED,), rules.ONE),
        Aim(("cps",), "per_s", "sing-box", 1.0, True, "per s", (rules.COMPILED,)),
        Aim(rules.BULK, "mb_per_s", SUBJECT, 0.98, True, "MB/s", (rules.LIMITED,), rules.ONE),
    ),
    "trojan": (
        Aim(_BULK, "mb_per_s", "sing-box", 1.3, True, "MB/s"),
        Aim(("cps",), "per_s", "sing-box", 1.5, True, "per s"),
        Aim(_UDP, "per_s", "sing-box", 1.5, True, "round trips/s"),
    ),
    "tun": tuple(
        aim
        for peer in (*tun.SING_BOX, "mihomo")
        for aim in (
            Aim(("bulk_down_8", "bulk_up_8"), "mb_per_s", peer, 1.8, True, "MB/s"),
            Aim(("bulk_down_8", "bulk_up_8"), "cpu_s_per_gb", peer, 0.5, False, "CPU s/GB"),
            Aim(("cps",), "per_s", peer, 1.0, True, "per s"),
            Aim(_UDP, "per_s", peer, 1.8, True, "round trips/s"),
        )
    ),
}

BOUNDS: dict[str, Bounds] = {
    "proxies": Bounds(kb_per_flow=8.0, start_ms=500.0, idle_mb=60.0),
    "shadowsocks": Bounds(share=0.5),
    "trojan": Bounds(share=0.5),
    "rules": Bounds(),
    "tun": Bounds(kb_per_flow=8.0),
}


def findings(results: Results, section: Section) -> list[Finding]:
    """Every aim that this run can judge."""
    found = [f for aim in AIMS[section.name] for f in _relative(aim, results.series)]
    weighed = [one for one in results.footprints if one.startup_ms or one.rss_per_flow is not None]
    peers = {other.program: other for other in weighed}
    for footprint in weighed:
        if footprint.program == SUBJECT:
            found += _weights(footprint, peers.get(section.reference), BOUNDS[section.name])
    return found


def _relative(aim: Aim, series: list[Series]) -> Iterator[Finding]:
    for ours in series:
        if ours.program != SUBJECT or ours.test not in aim.tests:
            continue
        if aim.variants and ours.entry not in aim.variants:
            continue
        value = ours.median(aim.figure)
        theirs = _other(ours, aim, series)
        if theirs is None or value is None:
            continue
        other, share = theirs.median(aim.figure), ours.against(theirs, aim.figure)
        if share is None:
            continue
        passed = share >= aim.bound if aim.at_least else share <= aim.bound
        sign = "≥" if aim.at_least else "≤"
        yield Finding(
            what=f"{ours.test}, {ours.entry}: {aim.says}",
            aim=f"{sign} {aim.bound:g} of {aim.against} {aim.beside}".rstrip(),
            ours=value,
            theirs=other,
            ratio=share,
            passed=passed,
        )


def _other(row: Series, aim: Aim, series: list[Series]) -> Series | None:
    if not aim.beside:
        return reference(row, aim.against, series)
    alike = (s for s in series if (s.program, s.entry) == (aim.against, aim.beside))
    return next((s for s in alike if s.test == row.test), None)


def reference(row: Series, program: str, series: list[Series]) -> Series | None:
    """The other program's series of the same test: by the same entry, or its only one."""
    same = [s for s in series if s.program == program and s.test == row.test]
    alike = next((s for s in same if s.entry in (row.entry, "")), None)
    return alike or (same[0] if len(same) == 1 else None)


def _weights(ours: Footprint, theirs: Footprint | None, bounds: Bounds) -> Iterator[Finding]:
    """Memory and start, each against its fixed bound or its share of the other's."""

    def finding(
        what: str, limit: float | None, value: float, other: float | None, holds: bool = True
    ) -> Finding | None:
        share = ratio(value, other)
        if limit is not None:
            return Finding(what, f"< {limit:g}", value, other, share, value < limit and holds)
        if bounds.share is None or share is None:
            return None
        aim = f"≤ {bounds.share:g} of the other"
        return Finding(what, aim, value, other, share, share <= bounds.share and holds)

    found: list[Finding | None] = []
    if ours.rss_per_flow is not None:
        whole = ours.flows_held == ours.flows_alive == ours.flows and not ours.new_errors
        found.append(
            finding(
                f"{ours.flows:,} idle flows ({ours.flows_alive:,} alive at the end,"
                f" {ours.new_per_s or 0:,.0f} new per s meanwhile): KB each",
                bounds.kb_per_flow,
                ours.rss_per_flow,
                theirs.rss_per_flow if theirs else None,
                whole and bool(ours.new_per_s),
            )
        )
    if ours.startup_ms and bounds.start_ms is not None:
        other = statistics.median(theirs.startup_ms) if theirs and theirs.startup_ms else None
        own = statistics.median(ours.startup_ms)
        what = "start to first accepted connection: ms"
        found.append(finding(what, bounds.start_ms, own, other))
    if ours.idle_rss is not None:
        other = theirs.idle_rss / 1024 if theirs and theirs.idle_rss else None
        found.append(finding("idle RSS: MB", bounds.idle_mb, ours.idle_rss / 1024, other))
    yield from (one for one in found if one is not None)
