"""Which file holds: what was asked for, or the first that is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

FILE_NAME = "byway.yaml"
SYSTEM_FOLDER = Path("/etc/byway")


def find(
    asked: str | None,
    environ: Mapping[str, str],
    here: Path,
    system: Path = SYSTEM_FOLDER,
) -> Path | None:
    """The config file: `-c`, `$BYWAY_CONFIG`, `./byway.yaml`, the user's, the system's.

    The first two are taken as they are, there or not: a named file has no substitute. None: no
    file anywhere, so the default holds.
    """
    named = asked or environ.get("BYWAY_CONFIG")
    if named:
        return here / Path(named).expanduser()
    return next((path for path in places(environ, here, system) if path.is_file()), None)


def places(environ: Mapping[str, str], here: Path, system: Path = SYSTEM_FOLDER) -> Sequence[Path]:
    """The places of a config that was not named, in this order."""
    found = [here / FILE_NAME]
    own = environ.get("XDG_CONFIG_HOME", "")
    if own.startswith("/"):  # XDG Base Directory: a relative path is to be ignored
        found.append(Path(own) / "byway" / FILE_NAME)
    elif environ.get("HOME"):
        found.append(Path(environ["HOME"]) / ".config" / "byway" / FILE_NAME)
    return (*found, system / FILE_NAME)
