"""The arithmetic: what a run cost, medians with their spread, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from measure.accounting import MachineTime
from measure.generator import Figures


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and what it lies between."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds up to some moment."""

    machine: MachineTime
    program: float
    target: float


@dataclass(slots=True)
class Series:
    """All repetitions of one test by one way. `error` is the first failure's reason."""

    program: str
    entry: str
    test: str
    runs: list[Figures] = field(default_factory=list)
    error: str | None = None

    @property
    def label(self) -> str:
        return f"{self.program} {self.entry}".rstrip()

    def spread(self, figure: str) -> Spread | None:
        """None when no repetition has this figure."""
        return spread(run[figure] for run in self.runs if figure in run)

    def median(self, figure: str) -> float | None:
        found = self.spread(figure)
        return found.median if found else None

    def against(self, other: Series, figure: str) -> float | None:
        """The median ratio to another series, repetition by repetition.

        Those of one repetition ran next to each other, so what slows the machine for a while
        slows both and cancels out. Where repetitions are missing, the ratio of the medians.
        """
        mine = [run.get(figure) for run in self.runs]
        theirs = [run.get(figure) for run in other.runs]
        if len(mine) != len(theirs):
            return ratio(self.median(figure), other.median(figure))
        ratios = (ratio(*pair) for pair in zip(mine, theirs, strict=True))
        found = spread(one for one in ratios if one is not None)
        return found.median if found else None


def spread(values: Iterable[float]) -> Spread | None:
    """Median, least and greatest; None of nothing."""
    kept = list(values)
    return Spread(statistics.median(kept), min(kept), max(kept)) if kept else None


def ratio(value: float | None, reference: float | None) -> float | None:
    """None where either is missing or the reference is nothing."""
    if value is None or not reference:
        return None
    return value / reference


def with_costs(run: Figures, before: Usage, after: Usage) -> Figures:
    """The run's figures together with what it cost.

    `foreign_s` is what tasks used that are neither program, generator nor target: other people's
    work on this machine, which makes a run doubtful, as `steal_s` does.
    """
    machine = after.machine.busy - before.machine.busy
    program = after.program - before.program
    steal = after.machine.steal - before.machine.steal
    own = program + after.target - before.target
    own += run.get("gen_user_s", 0.0) + run.get("gen_sys_s", 0.0)
    foreign = max(0.0, after.machine.tasks - before.machine.tasks - own)
    costs = {
        "program_cpu_s": program,
        "machine_cpu_s": machine,
        "steal_s": steal,
        "foreign_s": foreign,
        "disturbed_pct": 100 * (steal + foreign) / max(0.01, machine + steal),
    }
    if gigabytes := run.get("bytes", 0.0) / 1e9:
        costs["cpu_s_per_gb"] = program / gigabytes
        costs["machine_s_per_gb"] = machine / gigabytes
    if operations := run.get("ops", 0.0):
        costs["cpu_us_per_op"] = 1e6 * program / operations
        costs["machine_us_per_op"] = 1e6 * machine / operations
    return {**run, **{name: round(value, 5) for name, value in costs.items()}}
