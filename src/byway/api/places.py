"""The place of the control socket, for its server and its clients."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

NAME = "control.sock"
SYSTEM_FOLDER = "/run/byway"


def places(environ: Mapping[str, str], uid: int) -> Sequence[str]:
    """The paths of `socket: auto`, best first: the user's runtime folder, the system's for root."""
    found = []
    own = environ.get("XDG_RUNTIME_DIR", "")
    if own.startswith("/"):  # XDG Base Directory: a relative path is to be ignored
        found.append(os.path.join(own, "byway", NAME))
    if uid == 0 or not found:
        found.append(os.path.join(SYSTEM_FOLDER, NAME))
    return found


def default_place(environ: Mapping[str, str], uid: int) -> str | None:
    """Where a socket can be made, its folder included; None where there is no such place."""
    for path in places(environ, uid):
        folder = os.path.dirname(path)
        try:
            os.makedirs(folder, 0o755 if folder == SYSTEM_FOLDER else 0o700, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK | os.X_OK):
            return path
    return None
