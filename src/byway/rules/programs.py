"""Conditions on the program that a flow came from."""

from __future__ import annotations

from dataclasses import dataclass

from byway.flow import Flow
from byway.rules.matchers import Answer
from byway.rules.names import Regex
from byway.rules.verdicts import Fact, Facts


@dataclass(frozen=True, slots=True)
class ProcessName:
    """The file of its program has one of these names (in lower case), whatever its case."""

    names: frozenset[str]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        process = facts.process
        return Fact.PROCESS if process is None else process.name.lower() in self.names


@dataclass(frozen=True, slots=True)
class ProcessPath:
    """Its program is one of these files, or below one of these folders (with a / at the end);
    all in lower case, whatever its case."""

    paths: tuple[str, ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        process = facts.process
        if process is None:
            return Fact.PROCESS
        program = process.path.lower()
        return any(_is_at(program, path) for path in self.paths)


@dataclass(frozen=True, slots=True)
class ProcessUser:
    """Its process runs as one of these users of the system."""

    uids: frozenset[int]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        process = facts.process
        return Fact.PROCESS if process is None else process.uid in self.uids


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """Its process is in one of these control groups, or below."""

    groups: tuple[str, ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        process = facts.process
        if process is None:
            return Fact.PROCESS
        return any(
            mine == group or mine.startswith(f"{group.rstrip('/')}/")
            for mine in (process.cgroup, *process.cgroups)
            for group in self.groups
        )


@dataclass(frozen=True, slots=True)
class ProcessCommand:
    """Its command line, with spaces between the arguments, has one of these texts in it."""

    texts: tuple[str, ...]

    def match(self, flow: Flow, facts: Facts) -> Answer:
        process = facts.process
        if process is None:
            return Fact.PROCESS
        return any(text in process.command for text in self.texts)


class ProcessPathRegex:
    """One of these regexes (RE2) finds something in its program's path, whatever its case."""

    __slots__ = ("_regex",)

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._regex = Regex(patterns)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The regexes."""
        return self._regex.patterns

    def match(self, flow: Flow, facts: Facts) -> Answer:
        """Whether any regex finds something."""
        process = facts.process
        if process is None:
            return Fact.PROCESS
        return bool(process.path) and self._regex.finds(process.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProcessPathRegex) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"ProcessPathRegex({', '.join(self.patterns)})"


def _is_at(path: str, wanted: str) -> bool:
    return path.startswith(wanted) if wanted.endswith("/") else path == wanted
