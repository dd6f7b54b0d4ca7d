"""Lists of the web as they are kept on disk: whole or not at all, for this user's eyes alone.

One file for each address, named by its hash: a line of JSON with what is known of the list, and
behind it the list. Its time is when the web server was last asked. A file that is damaged, or of
another making, counts as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from byway.config.rules.compiled import read_list
from byway.outbounds.web import Document
from byway.protocols.web_address import WebAddress
from byway.rules.gathering import BadEntry
from byway.rules.geo import NOWHERE, World
from byway.rules.guess import form_of
from byway.rules.published import BINARY
from byway.rules.sets import Contents

MOST_BYTES = 1024 * 1024 * 1024  # of the whole folder
LEFT_OVER = 3600.0  # seconds after which a file half written is surely nobody's
_VERSION = 1
_LONGEST_LINE = 8192
_ENDINGS = (".web", ".set", ".part")


@dataclass(frozen=True, slots=True)
class Kept:
    """A list on disk."""

    path: Path
    form: str  # what it looks like
    etag: str
    modified: str
    digest: str
    size: int
    checked: float  # seconds since 1970
    offset: int = 0

    def body(self) -> bytes:
        """The list. Raises OSError when it is not, or no longer, what it was."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size + 1)
        if hashlib.sha256(data).hexdigest() != self.digest:
            raise OSError(0, "the kept list is damaged")
        return data

    @property
    def known(self) -> Document:
        """What to ask the server with."""
        return Document(b"", self.etag, self.modified)

    def known_by(self, document: Document) -> Kept:
        """The same list, known to its server by other words."""
        other = replace(self, etag=document.etag, modified=document.modified)
        return replace(other, offset=len(_line(other)))

    def touch(self, now: float) -> None:
        """Note that it was still the newest. Raises OSError."""
        os.utime(self.path, (now, now))


def find(address: WebAddress, folder: Path) -> Kept | None:
    """The kept list of an address."""
    path = _place(address, folder)
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_LINE)
            status = os.fstat(file.fileno())
        record = json.loads(line)
        if not isinstance(record, dict) or record.get("version") != _VERSION:
            return None
        found = Kept(
            path,
            str(record["form"]),
            str(record["etag"]),
            str(record["modified"]),
            str(record["digest"]),
            int(record["size"]),
            status.st_mtime,
            len(line),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if status.st_size == found.offset + found.size else None


def planned(
    address: WebAddress, document: Document, folder: Path, now: float, form: str = "auto"
) -> Kept:
    """What a list of a form will be once it is stored. Raises Bad for what is no list."""
    body = document.body
    found = Kept(
        _place(address, folder),
        form if form in BINARY else form_of(body),
        document.etag,
        document.modified,
        hashlib.sha256(body).hexdigest(),
        len(body),
        now,
    )
    return replace(found, offset=len(_line(found)))


def store(kept: Kept, body: bytes) -> None:
    """Put a list in place of an older one; a kill in between leaves the older. Raises OSError."""
    kept.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = kept.path.with_suffix(f".{os.getpid()}.part")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(part, flags, 0o600), "wb") as file:
            file.write(_line(kept))
            file.write(body)
        os.utime(part, (kept.checked, kept.checked))
        part.rename(kept.path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def read(
    kept: Kept,
    form: str,
    folder: Path,
    world: World = NOWHERE,
    body: bytes | None = None,
    part: str = "",
) -> tuple[Contents, list[BadEntry]]:
    """The set that a kept list is, and its bad entries; `body` where it is at hand.

    Raises OSError for what cannot be read.
    """
    return read_list(
        kept.body if body is None else lambda: body,
        kept.size,
        kept.form if form == "auto" else form,
        folder,
        str(kept.path),
        kept.digest,
        world,
        part,
    )


def prune(folder: Path, wanted: Collection[Path], most: int = MOST_BYTES) -> None:
    """Remove what was left half written, and the oldest files until all are within the bound."""
    now, found = time.time(), []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.endswith(_ENDINGS) and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                if entry.name.endswith(".part") and now - status.st_mtime > LEFT_OVER:
                    os.unlink(entry.path)
                elif Path(entry.path) not in wanted:
                    found.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in found) + sum(path.stat().st_size for path in wanted)
        for _, size, path in sorted(found):
            if total <= most:
                break
            os.unlink(path)
            total -= size


def _line(kept: Kept) -> bytes:
    record = {
        "version": _VERSION,
        "form": kept.form,
        "etag": kept.etag,
        "modified": kept.modified,
        "digest": kept.digest,
        "size": kept.size,
    }
    return json.dumps(record).encode() + b"\n"


def _place(address: WebAddress, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(address.whole.encode()).hexdigest()[:32]}.web"
