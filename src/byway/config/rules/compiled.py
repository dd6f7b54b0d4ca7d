"""Reading a list to what rules ask, and keeping what large lists were read to."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from byway.engine.sets import EngineLists
from byway.rules.gathering import BadEntry
from byway.rules.geo import NOWHERE, World
from byway.rules.guess import refuse_binary
from byway.rules.large import contents_of
from byway.rules.large_json import contents_of_json
from byway.rules.published import BINARY, LINES_OF, unpacked
from byway.rules.sets import Contents

CACHED = 1024 * 1024  # smaller lists are read anew as fast as their cache would be


def user_cache() -> Path:
    """The folder for what can be had again, by the XDG Base Directory Specification."""
    own = os.environ.get("XDG_CACHE_HOME", "")
    if own.startswith("/"):  # a relative path is to be ignored
        return Path(own) / "byway" / "sets"
    home = os.environ.get("HOME", "")
    return Path(home) / ".cache" / "byway" / "sets" if home else Path("/var/cache/byway/sets")


def read_list(
    read: Callable[[], bytes],
    size: int,
    form: str,
    cache: Path,
    place: str,
    version: str,
    world: World = NOWHERE,
    part: str = "",
) -> tuple[Contents, list[BadEntry]]:
    """The set that a list is, and its bad entries; `read` gives its bytes, when they are needed.

    `place` says which list it is and `version` which state of it, for the cache; `part` names the
    list of a file that holds many. Raises what `read` raises, and Bad for what is no such list.
    """

    def text() -> bytes:
        data = read()
        if form in BINARY:
            return unpacked(form, data, part)
        refuse_binary(data)
        return data

    if form == "sing-box":
        return contents_of_json(text(), world)
    written = LINES_OF.get(form, form)
    if size < CACHED:
        return contents_of(EngineLists.read(text(), written), written, world)
    place = f"{place}\n{form}\n{part}"
    stamp = hashlib.sha256(f"{place}\n{version}".encode()).digest()
    kept = cache / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.set"
    lists = EngineLists.load(kept, stamp)
    if lists is None:
        lists = EngineLists.read(text(), written)
        with contextlib.suppress(OSError):  # without a cache the next start is slower
            cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            lists.save(kept, stamp)
            kept.chmod(0o600)
    return contents_of(lists, written, world)
