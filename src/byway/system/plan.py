"""What is done to this host: planned as values, noted before it is done, undone whatever happens.

A `Change` says what it is, does it and undoes it. A `Journal` is a file that has each change on
disk before it is made, so that a process that was killed at any instant leaves nothing that the
next one cannot undo; a guard in a session of its own does so at once. Undoing is idempotent: it is
safe where a change was made, half made, or not made at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from byway.errors import BywayError

FOLDER = "/run/byway/changes"
"""Where journals are: gone after a boot, as the changes are."""

Fields = Mapping[str, object]

_KINDS = {
    "rule": "byway.system.routing:Rule",
    "route": "byway.system.routing:Route",
}
_WAIT = 10.0  # seconds for a guard to end


class HostError(BywayError):
    """The host cannot be changed as is needed: what, and in the hint what would help."""


class Change:
    """One thing that is done to the host. Equal ones are the same change."""

    kind: ClassVar[str]

    @abstractmethod
    def describe(self) -> str:
        """What is done, in a line: as the program that people know would be told to do it."""

    @abstractmethod
    def apply(self) -> None:
        """Do it. Raises HostError."""

    @abstractmethod
    def undo(self) -> None:
        """Undo it, if there is anything to undo. Raises HostError."""

    @abstractmethod
    def fields(self) -> Fields:
        """What it is made of, as JSON can say it."""


def change_of(noted: Mapping[str, object]) -> Change:
    """The change that was noted. Raises ValueError."""
    place = _KINDS.get(str(noted.get("kind")))
    if place is None:
        raise ValueError("no change is of this kind")
    module, _, name = place.partition(":")
    made = getattr(import_module(module), name)
    fields = {key: value for key, value in noted.items() if key != "kind"}
    try:
        found = made(**fields)
    except TypeError as error:
        raise ValueError(str(error)) from None
    assert isinstance(found, Change)
    return found


class Journal:
    """The changes of one process, on disk before they are made. Each method waits for the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._done: list[Change] = []

    @property
    def done(self) -> Sequence[Change]:
        """What was made, in this order."""
        return tuple(self._done)

    def make(self, change: Change) -> None:
        """Note a change and make it. Raises HostError, and the change is undone."""
        self._note(change)
        try:
            change.apply()
        except BaseException:
            with contextlib.suppress(HostError):  # the first failure is what counts
                change.undo()
            raise
        self._done.append(change)

    def undo(self, changes: Sequence[Change] | None = None) -> None:
        """Undo these of what was made (None: all), the last first, and forget them. Raises
        HostError at the end, for the first that cannot be undone."""
        wanted = set(map(id, self._done if changes is None else changes))
        failed: HostError | None = None
        for change in reversed(self._done):
            if id(change) in wanted:
                try:
                    change.undo()
                except HostError as error:
                    failed = failed or error
                    wanted.discard(id(change))  # noted still, for whoever tries again
        self._done = [one for one in self._done if id(one) not in wanted]
        if self._done:
            self._rewrite()
        else:
            self.path.unlink(missing_ok=True)
        if failed is not None:
            raise failed

    def _note(self, change: Change) -> None:
        line = json.dumps({"kind": change.kind, **change.fields()})
        new = not self.path.exists()
        try:
            if new:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                if new:
                    file.write(json.dumps(_owner()) + "\n")
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise HostError(f"{self.path} cannot be written: {why}", "run as root") from error

    def _rewrite(self) -> None:
        part = self.path.with_suffix(".part")
        lines = [_owner(), *({"kind": one.kind, **one.fields()} for one in self._done)]
        part.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        part.rename(self.path)


def undo_file(path: Path) -> Sequence[str]:
    """Undo what a journal notes, the last first, and remove it; what was undone, in words. A line
    that was not written whole was not acted on. Raises HostError where something stays."""
    undone, failed = [], None
    for change in reversed(list(_noted(path))):
        try:
            change.undo()
            undone.append(change.describe())
        except HostError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    path.unlink(missing_ok=True)
    return undone


def left(folder: Path | None = None) -> Iterator[Path]:
    """The journals of this network namespace whose process has ended. One of another boot says
    nothing any more, and is removed."""
    with contextlib.suppress(OSError):
        for path in sorted(Path(folder or FOLDER).glob("*.changes")):
            owner = _read_owner(path)
            if not owner:  # spoilt: its name says whose it is, and undoing for nothing harms nobody
                number = path.stem.partition("-")[0]
                if not (number.isdigit() and _began(int(number))):
                    yield path
            elif owner.get("boot") != _boot():
                path.unlink(missing_ok=True)
            elif owner.get("net") == _net() and not _runs(owner):
                yield path


def repair(folder: Path | None = None) -> Sequence[str]:
    """Undo what ended processes left; what was undone, in words. Raises HostError."""
    return [words for path in left(folder) for words in undo_file(path)]


def journal(folder: Path | None = None) -> Journal:
    """A journal of this process."""
    pid = os.getpid()  # which another process may have had, or have in another namespace
    return Journal(Path(folder or FOLDER) / f"{pid}-{_began(pid)}-{_net()}.changes")


class Guard:
    """Undoes a journal when this process dies: a shell that waits for the end of a pipe, in a
    session of its own, and then has Python do it."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [
                "sh",
                "-c",
                'cat >/dev/null; [ -e "$2" ] && exec "$0" -c "$1" "$2"',
                sys.executable,
                "from byway.system.plan import main; main()",
                str(path),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def close(self) -> None:
        """End it. What its journal still has, it undoes. Idempotent."""
        process = self._process
        if process.stdin is not None and not process.stdin.closed:
            with contextlib.suppress(OSError):  # it is gone
                process.stdin.close()
        try:
            process.wait(_WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """What a guard has Python do."""
    with contextlib.suppress(HostError):  # there is nobody to be told; the next start tries again
        undo_file(Path(sys.argv[1]))


def _noted(path: Path) -> Iterator[Change]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines[1:]:
        with contextlib.suppress(ValueError):
            noted = json.loads(line)
            if isinstance(noted, dict):
                yield change_of(noted)


def _owner() -> Fields:
    pid = os.getpid()
    return {"pid": pid, "began": _began(pid), "boot": _boot(), "net": _net()}


def _read_owner(path: Path) -> Fields:
    with contextlib.suppress(OSError, ValueError), path.open(encoding="utf-8") as file:
        found = json.loads(file.readline(4096))
        if isinstance(found, dict):
            return found
    return {}


def _runs(owner: Fields) -> bool:
    """Whether the process is there still: not another one with its number."""
    pid = owner.get("pid")
    return isinstance(pid, int) and _began(pid) == owner.get("began") != ""


def _began(pid: int) -> str:
    """When a process began, in ticks since the boot; "" where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    words = text.rpartition(")")[2].split()
    return words[19] if len(words) > 19 and words[0] != "Z" else ""


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _net() -> int:
    with contextlib.suppress(OSError):
        return os.stat("/proc/self/ns/net").st_ino
    return 0
