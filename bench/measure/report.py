"""The results as Markdown. Every figure is a median, with what it lies between in brackets."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from measure.aims import Finding, findings, reference
from measure.figures import Series, Spread
from measure.programs import CEILING, FLOOR
from measure.sections import Section, Test
from measure.session import Footprint, Results

_DISTURBED = 10.0
"""Per cent of the machine taken by others from which on a series is named as doubtful."""


def render(results: Results, section: Section) -> str:
    """The whole report."""
    lines = [f"# Bench: {section.title}", "", f"{results.machine}. {results.began}."]
    lines += [
        f"Two network namespaces joined by a veth pair, congestion control {results.control};"
        " generator, target and programs share the processors.",
        f"Medians of {results.repetitions} (least–greatest); the programs took turns."
        f" {results.seconds / 60:.1f} minutes.",
        "A ratio is the median of the repetitions' own ratios, not the ratio of the medians.",
        "",
        *([section.note, ""] if section.note else []),
        *_who(results),
    ]
    if judged := findings(results, section):
        lines += ["## Aims", "", *_aims(judged), ""]
    for test in section.tests:
        rows = [series for series in results.series if series.test == test.name]
        if rows:
            lines += [f"## {test.title}", "", *_test(test, rows, results, section), ""]
    if any(_measured(footprint) for footprint in results.footprints):
        lines += ["## Memory and start", "", *_memory(results.footprints), ""]
    if results.sets:
        lines += ["## The set by itself", "", *_sets(results), ""]
    if notes := list(_notes(results)):
        lines += ["## Notes", "", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines)


def _who(results: Results) -> list[str]:
    named = ", ".join(f"{name} {version}".strip() for name, version in results.versions.items())
    lines = [f"Programs: {named}."] if named else []
    lines += [f"- **{name} is missing**: {why}" for name, why in results.missing.items()]
    return [*lines, ""]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; figures to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def _aims(judged: Sequence[Finding]) -> list[str]:
    rows = [
        (
            finding.what,
            finding.aim,
            number(finding.ours),
            number(finding.theirs),
            times(finding.ratio),
            "pass" if finding.passed else "**miss**",
        )
        for finding in judged
    ]
    missed = sum(not finding.passed for finding in judged)
    head = ("figure", "aim", "byway", "the other", "ratio", "")
    return [f"{len(judged) - missed} of {len(judged)} hold.", "", *table(head, rows)]


def _test(test: Test, rows: Sequence[Series], results: Results, section: Section) -> list[str]:
    timed = any(series.median("p99_us") is not None for series in rows)
    head = ["program", test.unit, f"vs {section.reference}", f"vs {FLOOR}", test.cost_unit]
    head += [f"vs {section.reference}", f"vs {FLOOR}"]
    machine = test.cost.replace("cpu_", "machine_")
    head += ["whole machine", *(["p50 µs", "p99 µs"] if timed else [])]
    head += ["loss %"] if test.packets else []
    head += ["disturbed %"]
    body = []
    for series in rows:
        if not series.runs:
            body.append([series.label, "failed", *("–" for _ in head[2:])])
            continue
        cells = [series.label, spread(series.spread(test.rate))]
        cells += _ratios(series, test.rate, results.series, section)
        if series.program == CEILING:
            cells += ["–"] * 3
        else:
            cells.append(spread(series.spread(test.cost)))
            cells += _ratios(series, test.cost, results.series, section)
        cells.append(number(series.median(machine)))
        if timed:
            cells += [spread(series.spread("p50_us")), spread(series.spread("p99_us"))]
        if test.packets:
            cells.append(number(series.median("loss_pct")))
        cells.append(number(series.median("disturbed_pct")))
        body.append(cells)
    return table(head, body)


def _ratios(series: Series, figure: str, everybody: list[Series], section: Section) -> list[str]:
    cells = []
    for other in (section.reference, FLOOR):
        found = reference(series, other, everybody)
        if series.program in (CEILING, other) or found is None:
            cells.append("–")
        else:
            cells.append(times(series.against(found, figure)))
    return cells


def _measured(footprint: Footprint) -> bool:
    return bool(footprint.startup_ms) or footprint.rss_per_flow is not None


def _memory(footprints: Sequence[Footprint]) -> list[str]:
    head = [
        *("program", "ms to first accept", "idle RSS MB", "idle flows", "KB each (RSS)", "(PSS)"),
        *("alive at the end", "new per s meanwhile", "RSS held MB", "peak RSS MB"),
    ]
    rows = []
    for one in footprints:
        if not _measured(one):
            continue
        started = Spread(
            statistics.median(one.startup_ms), min(one.startup_ms), max(one.startup_ms)
        )
        held = one.flows_held > 0
        short = f" of {one.flows:,}" if one.flows_held < one.flows else ""
        rows.append(
            (
                one.label,
                spread(started) if one.startup_ms else "–",
                megabytes(one.idle_rss),
                f"{one.flows_held:,}{short}" if held else "–",
                number(one.rss_per_flow),
                number(one.pss_per_flow),
                f"{one.flows_alive:,}" if held else "–",
                number(one.new_per_s),
                megabytes(one.held_rss),
                megabytes(one.peak_rss),
            )
        )
    return table(head, rows)


def _sets(results: Results) -> list[str]:
    head = ("program", "from text s", "compiled ms", "file MB", "memory MB", "hit ns", "miss ns")
    figures = ("text_s", "compiled_ms", "file_mb", "memory_mb", "hit_ns", "miss_ns")
    rows = [[one["program"], *(number(one[figure]) for figure in figures)] for one in results.sets]
    return [
        *table(head, rows),
        "",
        "Byway's is the set alone in a process that is there already, asked from Python. sing-box's"
        " figures are of whole processes: `rule-set compile` of the JSON, and `rule-set match` of"
        " the compiled file with its greatest size; a look-up cannot be told apart from that. The"
        " row of many rules is `byway check` of a config that has them, as a whole process.",
    ]


def _notes(results: Results) -> Iterable[str]:
    for footprint in results.footprints:
        if footprint.error:
            yield f"{footprint.label}: {footprint.error}"
        if footprint.flows_held < footprint.flows:
            yield f"{footprint.label}: held {footprint.flows_held:,} of {footprint.flows:,} flows"
        if footprint.new_errors:
            failed = footprint.new_errors
            yield f"{footprint.label}: {failed} new connections failed beside the idle flows"
    for series in results.series:
        where = f"{series.label}, {series.test}"
        if series.error:
            yield f"{where}: {series.error}"
        for what in ("errors", "stuck"):
            total = sum(run.get(what, 0.0) for run in series.runs)
            if total:
                yield f"{where}: {total:,.0f} connections: {what}"
    doubtful = [s for s in results.series if (s.median("disturbed_pct") or 0.0) > _DISTURBED]
    if doubtful:
        steal = sum(run["steal_s"] for series in results.series for run in series.runs)
        yield (
            f"{len(doubtful)} of {len(results.series)} rows were disturbed: more than"
            f" {_DISTURBED:.0f} % of the machine went to other work here or to the host"
            f" (steal, {steal:.1f} s in all). Trust ratios of neighbours only, or repeat in quiet."
        )


def number(value: float | None) -> str:
    """With about three figures that mean something."""
    if value is None:
        return "–"
    size = abs(value)
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{places}f}" if value else "0"


def spread(found: Spread | None) -> str:
    """Median (least–greatest); the median alone where there is but one."""
    if found is None:
        return "–"
    if found.low == found.high:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)}–{number(found.high)})"


def times(share: float | None) -> str:
    """A ratio."""
    return "–" if share is None else f"{share:.2f}×"


def megabytes(kib: int | None) -> str:
    """KiB as MB, in the field's loose sense (MiB)."""
    return "–" if kib is None else f"{kib / 1024:.1f}"
