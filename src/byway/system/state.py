"""What a Byway remembers across restarts, as small JSON files: choices, used quotas.

One folder for each config, so that two Byways do not mix their memories up. Reading and writing
wait for the disk: off the event loop, where flows are on the road.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from byway.errors import in_words

Kept: TypeAlias = (
    "bool | int | float | str | list[Kept] | tuple[Kept, ...] | Mapping[str, Kept] | None"
)
"""What JSON can say."""

SYSTEM_FOLDER = "/var/lib/byway"
MOST = 1 << 20
"""Bytes of one file. A choice takes tens of bytes, so this is more than any honest one has."""


class StateFile:
    """One JSON object in a file of its own. Neither a missing nor a spoilt file is an error.

    `problem` says why the last read or write fell short ("" when it did not), for the log and for
    `byway status`. A spoilt file is set aside as `NAME.spoilt`, for a person to look at.
    """

    def __init__(self, path: Path | None, most: int = MOST) -> None:
        """`path` None: there is no place to keep anything; what is written is forgotten."""
        self.path = path
        self.problem = ""
        self._most = most

    def read(self) -> dict[str, Kept]:
        """What was written last; empty when there is nothing that can be trusted. Never raises."""
        self.problem = ""
        if self.path is None:
            return {}
        try:
            return _object(_content(self.path, self._most))
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            self.problem = f"{self.path} is damaged and was renamed: {error}"
            with contextlib.suppress(OSError):
                os.replace(self.path, self.path.with_name(f"{self.path.name}.spoilt"))
        except OSError as error:
            self.problem = f"{self.path} cannot be read: {in_words(error, file=False)}"
        return {}

    def write(self, content: Mapping[str, Kept]) -> bool:
        """Put this in place of what is there, whole or not at all, readable by its owner alone.

        False when it could not be; `problem` then says why. Raises ValueError or TypeError only
        for what JSON cannot say.
        """
        if self.path is None:
            self.problem = "there is no folder for it: neither XDG_STATE_HOME nor HOME is set"
            return False
        data = json.dumps(content, allow_nan=False, indent=1).encode()
        if len(data) > self._most:
            self.problem = f"{self.path} would be larger than {self._most} bytes"
            return False
        try:
            _put(self.path, data)
        except OSError as error:
            self.problem = f"{self.path} cannot be written: {in_words(error, file=False)}"
            return False
        self.problem = ""
        return True


def state_folder(config: str, environ: Mapping[str, str], uid: int) -> Path | None:
    """The folder of a config (its file's path, or any other text that names it); not made yet.

    In the state folder that systemd gives a service, that the user names (XDG), the system's for
    root, `~/.local/state` for others. None where there is none of these.
    """
    base = _base(environ, uid)
    if base is None:
        return None
    place = os.path.realpath(config) if os.path.exists(config) else config
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(place)).strip("-.")[:40]
    digest = hashlib.sha256(place.encode(errors="backslashreplace")).hexdigest()[:16]
    return base / (f"{plain}-{digest}" if plain else digest)


def _base(environ: Mapping[str, str], uid: int) -> Path | None:
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd.exec(5)
    if given.startswith("/"):
        return Path(given)
    own = environ.get("XDG_STATE_HOME", "")
    if own.startswith("/"):  # XDG Base Directory: a relative path is to be ignored
        return Path(own) / "byway"
    if uid == 0:
        return Path(SYSTEM_FOLDER)
    home = environ.get("HOME", "")
    return Path(home) / ".local" / "state" / "byway" if home.startswith("/") else None


def _content(path: Path, most: int) -> bytes:
    """All of a regular file. Raises ValueError for one that is none, or too large."""
    # Not to wait for a writer, should it be a pipe.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("not a file")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"larger than {most} bytes")
    return content


def _object(content: bytes) -> dict[str, Kept]:
    found = json.loads(content)  # both of its errors, of text and of JSON, are ValueErrors
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _put(path: Path, data: bytes) -> None:
    """Write beside the file and rename, so that a crash leaves the old or the new one."""
    import tempfile  # not light, and of no use to those who only read

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # the rename too is to outlive a power cut
    finally:
        os.close(folder)
