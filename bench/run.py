#!/usr/bin/env python3
"""Measure Byway beside its peers. See README.md beside this file, or --help."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from measure import generator, report
from measure.programs import CEILING
from measure.sections import SECTIONS, chosen_programs, chosen_tests
from measure.session import FULL, MEMORY_TESTS, QUICK, Session
from measure.site import Site

_HERE = Path(__file__).resolve().parent


def main(words: Sequence[str] | None = None) -> int:
    """Run the bench; 0 when it ran (missed aims are findings, not failures)."""
    options = _parser().parse_args(words)
    section = SECTIONS[options.section]
    try:
        programs = chosen_programs(section, options.only)
    except ValueError as unknown:
        print(f"bench: {unknown}", file=sys.stderr)
        return 2
    tests = chosen_tests(section, options.tests)
    memory = [t for t in MEMORY_TESTS if not options.tests or any(w in t for w in options.tests)]
    if not tests and not memory:
        names = ", ".join([*(test.name for test in section.tests), *MEMORY_TESTS])
        print(f"bench: no such test; there are {names}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("bench: needs root, for its network namespaces", file=sys.stderr)
        return 2
    pace = QUICK if options.quick else FULL
    if options.reps:
        pace = dataclasses.replace(pace, repetitions=options.reps)
    # An end from outside takes the same road as Ctrl-C: what was made is removed.
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.default_int_handler)
    program = generator.build(options.build)
    begin = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {line}", file=sys.stderr, flush=True)

    with Site() as site:
        session = Session(section, site, generator.Generator(program, site), pace, say)
        straight = not options.only or CEILING in options.only
        interrupted = False
        try:
            session.run(programs, tests, memory, straight)
        except KeyboardInterrupt:
            interrupted = True
    text = report.render(session.results, section)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(dataclasses.asdict(session.results), indent=1) + "\n")
    options.out.with_suffix(".md").write_text(text)
    print(text)
    return 130 if interrupted else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    for flag, meaning in (
        ("--only", "these programs only (also: direct, floor, pproxy)"),
        ("--tests", "tests whose name contains one of these"),
    ):
        parser.add_argument(flag, type=_names, default=[], metavar="NAME,...", help=meaning)
    parser.add_argument("--quick", action="store_true", help="one short repetition of each")
    parser.add_argument("--reps", type=int, metavar="N", help="so many repetitions of each")
    parser.add_argument(
        "--section", choices=list(SECTIONS), default="proxies", help="what to measure"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=_HERE / "results" / "latest.json",
        help="where the raw results go; the report goes beside them as .md (default: %(default)s)",
    )
    parser.add_argument(
        "--build",
        type=Path,
        default=_HERE.parent / "target",
        help="where cargo builds the load generator (default: %(default)s)",
    )
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


if __name__ == "__main__":
    sys.exit(main())
