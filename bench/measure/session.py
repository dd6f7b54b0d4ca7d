"""One run: everybody is started, everybody has a turn, again and again; then the tables."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import accounting
from measure.figures import Series, Usage, with_costs
from measure.generator import Generator, GeneratorError
from measure.processes import Process
from measure.programs import FLOOR, MissingError, Program, Running, launch
from measure.sections import Section, Test, Way, ways
from measure.site import Site

_SETTLE = 0.4
"""Seconds of quiet before memory is read."""
_BREATH = 0.1
"""Seconds between two runs, for what the last one left behind."""
MEMORY_TESTS = ("startup", "idle")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long and how often."""

    repetitions: int
    share: float
    """Of each test's own duration."""
    idle_flows: int
    startups: int


FULL = Pace(repetitions=3, share=1.0, idle_flows=9000, startups=3)
QUICK = Pace(repetitions=1, share=0.35, idle_flows=2000, startups=1)


@dataclass(slots=True)
class Footprint:
    """A program's memory and start. Sizes in KiB."""

    program: str
    startup_ms: list[float] = field(default_factory=list)
    idle_rss: int | None = None
    flows: int = 0
    flows_held: int = 0
    flows_alive: int = 0
    rss_per_flow: float | None = None
    pss_per_flow: float | None = None
    held_rss: int | None = None
    new_per_s: float | None = None
    """New connections per second while the flows were held, 4 at once."""
    new_errors: int = 0
    peak_rss: int | None = None
    error: str | None = None
    variant: str = ""

    @property
    def label(self) -> str:
        return f"{self.program} {self.variant}".rstrip()


@dataclass(slots=True)
class Results:
    """All that one run found out."""

    section: str
    machine: str
    began: str
    repetitions: int
    control: str
    """The congestion control of both hosts."""
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    sets: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


class Session:
    """Runs one section at a site. `results` can be read at any time, also after an interrupt."""

    def __init__(
        self, section: Section, site: Site, generator: Generator, pace: Pace, say: Say
    ) -> None:
        self.section = section
        self.site = site
        self.generator = generator
        self.pace = pace
        self.say = say
        self.results = Results(
            section=section.name,
            machine=machine(),
            began=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            repetitions=pace.repetitions,
            control=site.control,
        )
        self._target: Process | None = None
        self._found: list[tuple[Program, str]] = []

    def run(
        self,
        programs: Sequence[Program],
        tests: Sequence[Test],
        memory: Sequence[str],
        straight: bool,
    ) -> None:
        """Measure these programs by these tests and by memory; `straight` adds the direct path."""
        begin = time.monotonic()
        self._locate(programs)
        self._target = self.generator.target()
        try:
            footprints = {
                program.key: Footprint(program.name, variant=program.variant)
                for program, _ in self._found
                if not program.bare
            }
            self.results.footprints = list(footprints.values())
            weighed = [(p, executable) for p, executable in self._found if p.weighed]
            if "startup" in memory:
                for _ in range(self.pace.startups):
                    for program, executable in weighed:
                        self._start_once(program, executable, footprints[program.key])
            if "idle" in memory:
                for program, executable in weighed:
                    self._hold_idle(program, executable, footprints[program.key])
            if memory and self.section.weigh_sets is not None:
                self.results.sets = self.section.weigh_sets(self.site, self._found)
            if tests:
                self._take_turns(tests, straight, footprints)
        finally:
            self._target.stop()
            self.results.seconds = time.monotonic() - begin

    def _locate(self, programs: Sequence[Program]) -> None:
        for program in programs:
            if program.name in self.results.missing:
                continue
            try:
                executable = self.generator.program if program.name == FLOOR else program.locate()
            except MissingError as missing:
                self.results.missing[program.name] = str(missing)
                self.say(f"{program.name}: missing: {missing}")
                continue
            self._found.append((program, executable))
            if program.name not in (FLOOR, *self.results.versions):
                self.results.versions[program.name] = program.told_version(executable)

    @contextmanager
    def _running(
        self, program: Program, executable: str, footprint: Footprint
    ) -> Iterator[Running | None]:
        """The program for a while; None, with the reason noted, when it does not start."""
        try:
            running = launch(program, executable, self.site, self.generator)
        except (RuntimeError, OSError) as failure:
            footprint.error = str(failure)
            self.say(f"{program.key}: {failure}")
            yield None
            return
        try:
            yield running
        finally:
            running.stop()

    def _start_once(self, program: Program, executable: str, footprint: Footprint) -> None:
        with self._running(program, executable, footprint) as running:
            if running:
                footprint.startup_ms.append(running.startup_ms)

    def _hold_idle(self, program: Program, executable: str, footprint: Footprint) -> None:
        if footprint.error:
            return
        with self._running(program, executable, footprint) as running:
            if not running:
                return
            via = program.via(next(iter(program.entries)))
            time.sleep(_SETTLE)
            footprint.idle_rss = running.memory().rss
            flows = min(program.idle_flows, self.pace.idle_flows)
            try:
                # The first flows of a process pay for what all later ones share.
                self.generator.run(["pingpong", "--conns", "4"], via, 0.3, 0, program.target)
                self._hold(running, via, flows, footprint)
            except GeneratorError as failure:
                footprint.error = str(failure)
        self.say(f"idle {flows} flows · {program.key}: {idle_line(footprint)}")

    def _hold(self, running: Running, via: str, flows: int, footprint: Footprint) -> None:
        before = running.memory()
        target = running.program.target
        held = self.generator.hold(via, flows, target)
        try:
            footprint.flows, footprint.flows_held = flows, held.wait_ready()
            time.sleep(_SETTLE)
            after = running.memory()
            fresh = self.generator.run(["cps", "--conns", "4"], via, 0.8, 0.2, target)
            footprint.new_per_s, footprint.new_errors = fresh["per_s"], int(fresh["errors"])
            footprint.flows_alive = held.release()
        finally:
            held.kill()
        footprint.held_rss = after.rss
        if footprint.flows_held:
            footprint.rss_per_flow = (after.rss - before.rss) / footprint.flows_held
            footprint.pss_per_flow = (after.pss - before.pss) / footprint.flows_held

    def _take_turns(
        self, tests: Sequence[Test], straight: bool, footprints: dict[str, Footprint]
    ) -> None:
        running: dict[str, Running] = {}
        try:
            for program, executable in self._found:
                if program.bare or not any(ways(test, [program], False) for test in tests):
                    continue
                try:
                    running[program.key] = launch(program, executable, self.site, self.generator)
                except (RuntimeError, OSError) as failure:
                    footprints[program.key].error = str(failure)
                    self.say(f"{program.key}: {failure}")
            time.sleep(_SETTLE)
            for key, one in running.items():
                footprints[key].idle_rss = footprints[key].idle_rss or one.memory().rss
            programs = [p for p, _ in self._found if p.bare or p.key in running]
            for test in tests:
                self._turns(test, ways(test, programs, straight), running)
            for key, one in running.items():
                footprints[key].peak_rss = one.memory().peak
        finally:
            for one in running.values():
                one.stop()

    def _turns(self, test: Test, taking_part: Sequence[Way], running: dict[str, Running]) -> None:
        rows = [(way, Series(way.name, way.shown, test.name)) for way in taking_part]
        self.results.series += [series for _, series in rows]
        for _ in range(self.pace.repetitions):
            for way, series in rows:
                if series.error is None:
                    self._turn(test, way, series, running.get(way.key))
        for _, series in rows:
            self.say(f"{test.name} · {series.label}: {turn_line(test, series)}")

    def _turn(self, test: Test, way: Way, series: Series, running: Running | None) -> None:
        seconds = test.seconds * self.pace.share
        warm = min(0.5, 0.25 * seconds)
        before = self._usage(running)
        try:
            if way.program and way.program.bare:
                run = self.generator.bare(way.program.bare, seconds / 2, warm / 2)
                # What it took is what it says of itself: nothing else runs for it.
                run = {**with_costs(run, before, self._usage(None)), **run}
                series.runs.append(run)
                return
            run = self.generator.run(test.words, way.via, seconds, warm, way.target)
        except GeneratorError as failure:
            series.error = str(failure)
        else:
            series.runs.append(with_costs(run, before, self._usage(running)))
            if not run[test.rate]:
                series.error = "nothing moved"
        if running and not running.alive:
            series.error = f"the program ended: {running.last_words()}"
        time.sleep(_BREATH)

    def _usage(self, running: Running | None) -> Usage:
        target = self._target.cpu_seconds() if self._target else 0.0
        return Usage(accounting.machine_time(), running.cpu_seconds() if running else 0.0, target)


def turn_line(test: Test, series: Series) -> str:
    """A series in a few words."""
    rate, cost = series.median(test.rate), series.median(test.cost)
    if series.error or rate is None:
        return f"failed: {series.error}"
    words = f"{rate:,.0f} {test.unit}"
    if cost is not None and series.program != "direct":
        words += f", {cost:,.3f} {test.cost_unit}"
    p99 = series.median("p99_us")
    return words + (f", p99 {p99:,.0f} µs" if p99 is not None else "")


def idle_line(footprint: Footprint) -> str:
    """What holding idle flows took, in a few words."""
    if footprint.error or footprint.rss_per_flow is None:
        return f"failed: {footprint.error}"
    return (
        f"{footprint.rss_per_flow:.1f} KB each, {footprint.flows_alive} alive at the end,"
        f" {footprint.new_per_s:,.0f} new per s meanwhile"
    )


def machine() -> str:
    """This machine in one line."""
    model = "processor unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    total = accounting.kib(Path("/proc/meminfo").read_text(), "MemTotal") / 1048576
    return f"{model}, {os.cpu_count()} cores, {total:.0f} GiB, Linux {platform.release()}"
