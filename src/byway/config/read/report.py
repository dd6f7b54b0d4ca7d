"""The report of `byway check`, for people and for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from byway.config.model import Config
from byway.config.read.excerpt import problem_lines
from byway.config.read.load import default, load
from byway.config.rules.sets import open_sets
from byway.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check: `config` is None when there are problems."""

    file: str
    config: Config | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the config can be run."""
        return self.config is not None

    def human(self) -> str:
        """Lines for a person; each problem begins with `file:line:column:`, as editors expect."""
        lines = list(problem_lines(self.problems))
        lines += problem_lines([_as_warning(one) for one in self.warnings], excerpts=False)
        if self.config is None:
            lines.append(f"{_count(len(self.problems), 'error')} in {self.file}")
        else:
            parts = [
                _count(len(self.config.inbounds), "inbound"),
                _count(len(self.config.outbounds), "outbound"),
                _count(len(self.config.rules), "rule"),
            ]
            if self.config.groups:
                parts.insert(2, _count(len(self.config.groups), "group"))
            lines.append(f"{self.file} is valid: {', '.join(parts)}")
        return "\n".join(lines)

    def json(self) -> str:
        """One JSON object: `file`, `ok`, and `problems` and `warnings` with their places."""
        found = {
            "file": self.file,
            "ok": self.ok,
            "problems": [asdict(problem) for problem in self.problems],
            "warnings": [asdict(problem) for problem in self.warnings],
        }
        return json.dumps(found, indent=2, ensure_ascii=False)


def check_report(path: str | os.PathLike[str] | None, typed: str = "") -> Report:
    """Check a file; None: the default. Raises nothing for a bad config: that is the report.

    `typed`: the path as it was typed, for messages.
    """
    if path is None:
        config = default()
        return Report(config.file, config)
    file, shown = os.fspath(path), typed or os.fspath(path)
    try:
        config = load(path)
    except ConfigError as error:
        return Report(shown, None, as_typed(error.problems, file, shown))
    warnings = (*config.warnings, *open_sets(config).problems)
    return Report(shown, config, (), as_typed(warnings, file, shown))


def as_typed(problems: Sequence[Problem], file: str, typed: str) -> tuple[Problem, ...]:
    """The problems of a file under the path that was typed."""
    return tuple(
        replace(one, file=typed, hint=one.hint.replace(file, typed)) if one.file == file else one
        for one in problems
    )


def _as_warning(problem: Problem) -> Problem:
    return Problem(
        problem.file,
        problem.line,
        problem.column,
        problem.key,
        f"warning: {problem.message}",
        problem.hint,
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
