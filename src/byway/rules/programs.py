"""Conditions on the program that a flow came from."""

from __future__ import annotations

from dataclasses import dataclass

from byway.flow import Flow
from byway.rules.matchers import Answer
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
            process.cgroup == group or process.cgroup.startswith(f"{group.rstrip('/')}/")
            for group in self.groups
        )


def _is_at(path: str, wanted: str) -> bool:
    return path.startswith(wanted) if wanted.endswith("/") else path == wanted
