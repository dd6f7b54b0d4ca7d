"""Opening the sets that rules ask for. Nothing about a list keeps Byway from starting."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from byway.config.conditions import FileSet, SetConfig
from byway.config.model import Config
from byway.engine.sets import FORMS, EngineLists
from byway.errors import Problem
from byway.rules.gathering import BadEntry
from byway.rules.geo import NOWHERE, World
from byway.rules.large import contents_of
from byway.rules.lists import gather
from byway.rules.sets import Contents, RuleSet

MAX_BYTES = 256 * 1024 * 1024
MAX_TOLD = 20  # bad entries of one set that are told one by one
CACHED = 1024 * 1024  # smaller files are read anew as fast as their cache would be


@dataclass(frozen=True, slots=True)
class OpenSets:
    """The sets by their names, and what is wrong with their lists."""

    sets: Mapping[str, RuleSet]
    problems: Sequence[Problem] = ()


def open_sets(config: Config, cache: Path | None = None) -> OpenSets:
    """Read every set. One that cannot be read is empty, and not complete.

    What large files were read to is kept in the folder `cache` (None: the user's); whether a file
    has changed is told by its size and time.
    """
    folder = _user_cache() if cache is None else cache
    sets: dict[str, RuleSet] = {}
    problems: list[Problem] = []
    for name, section in config.sets.items():
        sets[name], found = _open(name, section, config, folder)
        problems += found
    return OpenSets(sets, problems)


def _open(
    name: str, section: SetConfig, config: Config, cache: Path | None
) -> tuple[RuleSet, list[Problem]]:
    key = f"sets.{name}"
    if not isinstance(section, FileSet):
        gathered = gather("lines", "\n".join(section.items))
        return RuleSet(name, config.file, gathered.contents()), _told(
            gathered.bad, config.file, key
        )
    try:
        contents, bad = _read(section.path, section.format, cache, config.world)
    except OSError as error:
        why = f"the set is empty: its file cannot be read: {(error.strerror or str(error)).lower()}"
        problem = Problem(section.path, 0, 0, key, why)
        return RuleSet(name, section.path, Contents(complete=False)), [problem]
    return RuleSet(name, section.path, contents), _told(bad, section.path, key)


def _read(
    path: str, form: str, cache: Path | None, world: World = NOWHERE
) -> tuple[Contents, list[BadEntry]]:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size > MAX_BYTES:
            raise OSError(0, f"larger than {MAX_BYTES} bytes")
        if form not in FORMS:
            # what is not UTF-8 in a file makes bad entries, not a bad file
            gathered = gather(form, file.read(MAX_BYTES).decode("utf-8-sig", "replace"), world)
            return gathered.contents(), gathered.bad
        if cache is None or status.st_size < CACHED:
            return contents_of(EngineLists.read(file.read(MAX_BYTES), form), form, world)
        place = f"{os.path.abspath(path)}\n{form}"
        stamp = hashlib.sha256(f"{place}\n{status.st_size}\n{status.st_mtime_ns}".encode()).digest()
        kept = cache / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.set"
        lists = EngineLists.load(kept, stamp)
        if lists is None:
            lists = EngineLists.read(file.read(MAX_BYTES), form)
            with contextlib.suppress(OSError):  # without a cache the next start is slower
                cache.mkdir(mode=0o700, parents=True, exist_ok=True)
                lists.save(kept, stamp)
    return contents_of(lists, form, world)


def _user_cache() -> Path | None:
    """The folder by the XDG Base Directory Specification; None for who has no home."""
    own = os.environ.get("XDG_CACHE_HOME", "")
    if own.startswith("/"):  # a relative path is to be ignored
        return Path(own) / "byway" / "sets"
    home = os.environ.get("HOME", "")
    return Path(home) / ".cache" / "byway" / "sets" if home else None


def _told(bad: Sequence[BadEntry], file: str, key: str) -> list[Problem]:
    told = [
        Problem(file, entry.line, 1, key, f"{entry.text!r} is passed over: {entry.why}")
        for entry in bad[:MAX_TOLD]
    ]
    if len(bad) > MAX_TOLD:
        more = len(bad) - MAX_TOLD
        told.append(Problem(file, 0, 0, key, f"{more} more entries are passed over"))
    return told
