"""Opening the sets that rules ask for. Nothing about a list keeps Byway from starting."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from types import MappingProxyType

from byway.config.model import Config
from byway.config.rules.compiled import read_list, user_cache
from byway.config.rules.conditions import FileSet, InlineSet, SetConfig, UrlSet
from byway.engine.sets import EngineLists
from byway.errors import Problem
from byway.rules.gathering import Bad, BadEntry, Gathering
from byway.rules.geo import World
from byway.rules.guess import LOOKED_AT, form_of
from byway.rules.large import contents_of
from byway.rules.lists import read_lines
from byway.rules.sets import Contents, RuleSet

MAX_BYTES = 256 * 1024 * 1024
MOST_NEIGHBOURS = 10_000  # files that are looked at beside a list of many files
MAX_NEIGHBOUR = 16 * 1024 * 1024
MAX_REPORTED = 20  # bad entries of one set that are reported one by one


@dataclass(frozen=True, slots=True)
class OpenSets:
    """The sets by their names, and what is wrong with their lists."""

    sets: Mapping[str, RuleSet]
    problems: Sequence[Problem] = ()


def open_sets(
    config: Config,
    cache: Path | None = None,
    running: Mapping[str, RuleSet] = MappingProxyType({}),
) -> OpenSets:
    """Read every set, but for those that are `running`. One that cannot be read is empty, and not
    complete. Of a set from the web, what was fetched last is read.

    What large files were read to is kept in the folder `cache` (None: the user's); whether a file
    has changed is told by its size and time.
    """
    folder = user_cache() if cache is None else cache
    sets: dict[str, RuleSet] = {}
    problems: list[Problem] = []
    for name, section in config.sets.items():
        if name in running:
            sets[name] = running[name]
            continue
        sets[name], found = _open(name, section, config, folder)
        problems += found
    return OpenSets(sets, problems)


def _open(
    name: str, section: SetConfig, config: Config, cache: Path
) -> tuple[RuleSet, list[Problem]]:
    if isinstance(section, InlineSet):
        gathered = Gathering(world=config.world)
        lines = config.item_lines(name) or repeat(0)
        read_lines(section.format, zip(lines, section.items, strict=False), gathered)
        bad = problems_of(gathered.bad, config.file, name)
        return RuleSet(name, config.file, gathered.contents()), bad
    source = section.path if isinstance(section, FileSet) else str(section.url)
    try:
        if isinstance(section, FileSet):
            contents, entries = _of_file(section, cache, config.world)
        else:
            contents, entries = _of_web(section, cache, config.world)
    except Bad as error:
        problem = Problem(source, 0, 0, f"sets.{name}", f"the set is empty: {error}")
        return RuleSet(name, source, Contents(complete=False)), [problem]
    except OSError as error:
        why = f"the set is empty: its file cannot be read: {(error.strerror or str(error)).lower()}"
        problem = Problem(source, 0, 0, f"sets.{name}", why)
        return RuleSet(name, source, Contents(complete=False)), [problem]
    return RuleSet(name, source, contents), problems_of(entries, source, name)


def _of_file(section: FileSet, cache: Path, world: World) -> tuple[Contents, list[BadEntry]]:
    with open(section.path, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size > MAX_BYTES:
            raise OSError(0, f"larger than {MAX_BYTES} bytes")
        if section.format == "v2fly":
            return _of_folder(Path(section.path), section.list or "", world)
        form: str = section.format
        if form == "auto":
            form = form_of(file.read(LOOKED_AT))
            file.seek(0)
        return read_list(
            lambda: file.read(MAX_BYTES),
            status.st_size,
            form,
            cache,
            os.path.abspath(section.path),
            f"{status.st_size}\n{status.st_mtime_ns}",
            world,
            section.list or "",
        )


def _of_folder(path: Path, part: str, world: World) -> tuple[Contents, list[BadEntry]]:
    """A list whose neighbours in its folder it may include, and may be joined by."""
    from byway.rules.published import v2fly

    def read(name: str) -> str:
        if "/" in name or name.startswith("."):
            raise Bad(f"{name!r} is not the name of a list")
        return (path.parent / name).read_text("utf-8", "replace")

    joined = {}
    for neighbour in islice(sorted(path.parent.iterdir()), MOST_NEIGHBOURS):
        if neighbour.is_file() and neighbour.stat().st_size <= MAX_NEIGHBOUR:
            text = neighbour.read_text("utf-8", "replace")
            if f"&{path.name}".lower() in text.lower():
                joined[neighbour.name] = text
    lines = v2fly.lines(path.name, part, read, joined)
    return contents_of(EngineLists.read(lines, "unpacked"), "unpacked", world)


def _of_web(section: UrlSet, cache: Path, world: World) -> tuple[Contents, list[BadEntry]]:
    from byway.config.rules import fetched  # most configs have nothing of the web

    kept = fetched.find(section.url, cache)
    if kept is None:
        return Contents(complete=False), []
    return fetched.read(kept, section.format, cache, world, part=section.list or "")


def problems_of(bad: Sequence[BadEntry], file: str, name: str) -> list[Problem]:
    """The bad entries of a list, for a person: the first ones one by one."""
    key = f"sets.{name}"
    found = [
        Problem(file, entry.line, 1, key, f"{entry.text!r} is ignored: {entry.why}")
        for entry in bad[:MAX_REPORTED]
    ]
    if len(bad) > MAX_REPORTED:
        more = len(bad) - MAX_REPORTED
        found.append(Problem(file, 0, 0, key, f"{more} more entries are ignored"))
    return found
