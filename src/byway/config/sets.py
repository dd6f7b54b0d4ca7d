"""Opening the sets that rules ask for. Nothing about a list keeps Byway from starting."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byway.config.conditions import FileSet, SetConfig
from byway.config.model import Config
from byway.errors import Problem
from byway.rules.gathering import BadEntry
from byway.rules.lists import gather
from byway.rules.sets import Contents, RuleSet

MAX_BYTES = 256 * 1024 * 1024
MAX_TOLD = 20  # bad entries of one set that are told one by one


@dataclass(frozen=True, slots=True)
class OpenSets:
    """The sets by their names, and what is wrong with their lists."""

    sets: Mapping[str, RuleSet]
    problems: Sequence[Problem] = ()


def open_sets(config: Config) -> OpenSets:
    """Read every set. One that cannot be read is empty, and not complete."""
    sets: dict[str, RuleSet] = {}
    problems: list[Problem] = []
    for name, section in config.sets.items():
        sets[name], found = _open(name, section, config.file)
        problems += found
    return OpenSets(sets, problems)


def _open(name: str, section: SetConfig, config: str) -> tuple[RuleSet, list[Problem]]:
    key = f"sets.{name}"
    if not isinstance(section, FileSet):
        gathered = gather("lines", "\n".join(section.items))
        return RuleSet(name, config, gathered.contents()), _told(gathered.bad, config, key)
    try:
        text = _text(section.path)
    except OSError as error:
        why = f"the set is empty: its file cannot be read: {(error.strerror or str(error)).lower()}"
        problem = Problem(section.path, 0, 0, key, why)
        return RuleSet(name, section.path, Contents(complete=False)), [problem]
    gathered = gather(section.format, text)
    return (
        RuleSet(name, section.path, gathered.contents()),
        _told(gathered.bad, section.path, key),
    )


def _text(path: str) -> str:
    """The file's text. What is not UTF-8 in it makes bad entries, not a bad file."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise OSError(0, f"larger than {MAX_BYTES} bytes")
        return file.read(MAX_BYTES).decode("utf-8-sig", "replace")


def _told(bad: Sequence[BadEntry], file: str, key: str) -> list[Problem]:
    told = [
        Problem(file, entry.line, 1, key, f"{entry.text!r} is passed over: {entry.why}")
        for entry in bad[:MAX_TOLD]
    ]
    if len(bad) > MAX_TOLD:
        more = len(bad) - MAX_TOLD
        told.append(Problem(file, 0, 0, key, f"{more} more entries are passed over"))
    return told
