"""The desktop's proxy settings, taken and given back: what was there is written down first.

Only what was set here is put back. A key that somebody else changed meanwhile is theirs, and stays.
What is written down survives a crash, so the next one to look can put it back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from byway.system.desktop import Desktop, DesktopError, Values, Wanted
from byway.system.state import Kept, StateFile, state_folder

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Taken:
    """What is written down: whose settings, what was there, what was set, and by which process
    (0: by hand, until it is taken back by hand)."""

    desktop: str
    before: Values
    set: Values
    owner: int = 0


class Settings:
    """Takes and gives back the settings of one user."""

    def __init__(self, environ: Mapping[str, str], uid: int) -> None:
        folder = state_folder("system-proxy", environ, uid)
        self._file = StateFile(None if folder is None else folder / "settings.json")

    @property
    def path(self) -> Path | None:
        """Where it is written down."""
        return self._file.path

    def taken(self) -> Taken | None:
        """What is set now by us, as far as we know."""
        record = self._file.read()
        before, now, owner = record.get("before"), record.get("set"), record.get("owner")
        if record.get("version") != _VERSION or not isinstance(owner, int):
            return None
        if not _are_values(before) or not _are_values(now):
            return None
        return Taken(str(record["desktop"]), before, now, owner)

    def left_behind(self) -> Taken | None:
        """What a process set that is no more."""
        taken = self.taken()
        if taken is None or not taken.owner or _lives(taken.owner):
            return None
        return taken

    def take(self, desktop: Desktop, wanted: Wanted, owner: int = 0) -> None:
        """Set what is wanted. Raises DesktopError, with all as it was."""
        now = desktop.read()
        values = desktop.values(wanted, now)
        former = self.taken()
        before = {key: now.get(key) for key in values}
        if former is not None and former.desktop == desktop.name:
            # what was ours is not what was there before us
            ours = {key for key, value in former.set.items() if now.get(key) == value}
            before |= {key: former.before.get(key) for key in ours}
            given_back = {key: former.before.get(key) for key in ours if key not in values}
            values = {**given_back, **values}
        elif former is not None:
            raise DesktopError(
                f"another Byway has set the settings of {former.desktop}", "byway system-proxy off"
            )
        record: dict[str, Kept] = {
            "version": _VERSION,
            "desktop": desktop.name,
            "owner": owner,
            "before": before,
            "set": dict(values),
        }
        if not self._file.write(record):
            raise DesktopError(f"the previous settings cannot be saved: {self._file.problem}")
        try:
            desktop.write(values)
            found = desktop.read()
            if any(found.get(key) != value for key, value in values.items()):
                raise DesktopError(
                    "the settings have no effect", "run this inside the desktop's session"
                )
        except DesktopError:
            with contextlib.suppress(DesktopError):
                self._put_back(desktop, Taken(desktop.name, before, values))
            self._forget()
            raise

    def give_back(self, desktop: Desktop) -> Sequence[str]:
        """Put back what was there; the keys that others changed, and that were left alone.

        Raises DesktopError, with all still written down.
        """
        taken = self.taken()
        if taken is None:
            return ()
        kept = self._put_back(desktop, taken)
        self._forget()
        return kept

    def changed(self, desktop: Desktop, taken: Taken) -> Sequence[str]:
        """The keys that somebody else changed meanwhile. Raises DesktopError."""
        now = desktop.read()
        return [key for key, value in taken.set.items() if now.get(key) != value]

    def _put_back(self, desktop: Desktop, taken: Taken) -> Sequence[str]:
        changed = self.changed(desktop, taken)
        keys = [key for key in taken.set if key not in changed]
        # what was set last switches it on, so it goes first
        desktop.write({key: taken.before.get(key) for key in reversed(keys)})
        return changed

    def _forget(self) -> None:
        if self._file.path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._file.path)


def _are_values(value: object) -> TypeGuard[dict[str, str | None]]:
    return isinstance(value, dict) and all(
        isinstance(key, str) and (text is None or isinstance(text, str))
        for key, text in value.items()
    )


def _lives(pid: int) -> bool:
    """Whether a process is there that may be a Byway."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"byway" in file.read()
    except OSError:
        return False
