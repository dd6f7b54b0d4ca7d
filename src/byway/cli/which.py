"""Which Byway a verb speaks of: one that runs, and its config; never one's socket, another's file.

A socket that is named (`--socket`, $BYWAY_SOCKET) is asked, or it is an error. A config that is
named (`-c`, $BYWAY_CONFIG) means the Byway that runs it, where one does. Else the running one is
meant, with the config that it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from byway.errors import BywayError

if TYPE_CHECKING:
    from byway.api.client import Client
    from byway.config import Config

WITHOUT_FILE = ("(default)", "(links)")


class Running:
    """A Byway that runs: how to ask it, and what it is."""

    def __init__(self, client: Client) -> None:
        """Raises NotRunning where none answers."""
        self.client = client
        self.status = client.ask("GET", "/status")

    @property
    def config(self) -> str:
        """The file that it runs, or `(default)` or `(links)`."""
        return str(self.status["config"])

    def __str__(self) -> str:
        return f"byway, pid {self.status['pid']}, {self.config}"


def named_config(options: argparse.Namespace) -> str | None:
    """The config that was named, as it was typed."""
    return getattr(options, "config", None) or os.environ.get("BYWAY_CONFIG") or None


def running(options: argparse.Namespace, patience: float | None = None) -> Running | None:
    """The running Byway that is meant; None where none runs. To be closed by its `client`.

    A config in this folder goes before the Byway of the system. Raises BywayError when a socket is
    named and there is no Byway, or another one.
    """
    from byway.config.read.find import FILE_NAME

    return _found(options, patience, system=not Path(FILE_NAME).is_file())


def _found(options: argparse.Namespace, patience: float | None, system: bool) -> Running | None:
    from byway.api.client import NotRunning

    named, wanted = options.socket or os.environ.get("BYWAY_SOCKET"), named_config(options)
    if named:
        found = _asked(named, patience)
        if options.socket is None and wanted is not None and not _runs(found, wanted):
            found.client.close()
            return None
        if wanted is not None and not _runs(found, wanted):
            found.client.close()
            raise BywayError(f"the Byway at {named} does not run {wanted}: {found}")
        return found
    for path in _sockets(wanted, system):
        try:
            found = _asked(path, patience)
        except NotRunning:
            continue
        if wanted is None or _runs(found, wanted):
            return found
        found.client.close()
    return None


def needed(options: argparse.Namespace, patience: float | None = None) -> Running:
    """The same, where one is needed. Raises NotRunning."""
    found = _found(options, patience, system=True)
    if found is None:
        from byway.api.client import NotRunning
        from byway.api.places import places

        wanted = named_config(options)
        where = f"there is no socket at {' or '.join(places(os.environ, os.getuid()))}"
        raise NotRunning(
            f"no running Byway uses {wanted}" if wanted else f"Byway is not running: {where}",
            f"start it with `byway run -c {wanted}`"
            if wanted
            else "start one with `byway run`, or set its socket with --socket",
        )
    return found


def config_of(options: argparse.Namespace, found: Running | None) -> Config:
    """The config that is named, or that the running Byway runs, or that would be run here.

    Raises ConfigError, or BywayError when the running one was given links in place of a file.
    """
    from byway.config import default, load

    wanted = named_config(options)
    if wanted is None and found is not None:
        if found.config == "(links)":
            message = f"the running Byway was given links, and no config file ({found})"
            raise BywayError(message, "name a config with -c")
        return default() if found.config in WITHOUT_FILE else load(found.config)
    return loaded(wanted)


def loaded(wanted: str | None) -> Config:
    """The config that is named, or would be run here. Raises ConfigError."""
    from byway.config import as_typed, default, find, load
    from byway.errors import ConfigError

    wanted = wanted or os.environ.get("BYWAY_CONFIG")
    path = find(wanted, os.environ, Path.cwd())
    if path is None:
        return default()
    try:
        return load(path)
    except ConfigError as error:
        if not wanted:
            raise
        raise ConfigError(as_typed(error.problems, str(path), wanted)) from None


def tell(found: Running, options: argparse.Namespace) -> None:
    """Say which Byway was changed; a program that asked for JSON knows where it asked."""
    if not getattr(options, "json", False):
        from byway.ledger.log import escaped

        print(escaped(f"({found})"), file=sys.stderr)


def _asked(path: str, patience: float | None) -> Running:
    from byway.api.client import PATIENCE, Client

    client = Client(path, patience or PATIENCE)
    try:
        return Running(client)
    except BaseException:
        client.close()
        raise


def _runs(found: Running, wanted: str) -> bool:
    same = found.config not in WITHOUT_FILE
    return same and os.path.realpath(found.config) == os.path.realpath(Path(wanted).expanduser())


def _sockets(wanted: str | None, system: bool) -> list[str]:
    """Where it may be asked: where its config says, then at the usual places of this user."""
    from byway.api.places import SYSTEM_FOLDER, places
    from byway.config import find

    found = [
        path
        for path in places(os.environ, os.getuid())
        if _is_ours(path) and (system or wanted or not path.startswith(SYSTEM_FOLDER))
    ]
    path = find(wanted, os.environ, Path.cwd())
    if path is not None and (own := _own_socket(path)) is not None:
        found.insert(0, own)
    return found


def _own_socket(path: Path) -> str | None:
    """The socket that a config names; None for the usual one, or a config that is none."""
    from byway.config import load
    from byway.errors import ConfigError

    try:
        if b"socket" not in path.read_bytes():
            return None  # what most say, without a look at all their rules
        socket = load(path).control.socket
    except (ConfigError, OSError):
        return None
    return None if socket in ("auto", "off") else socket


def _is_ours(path: str) -> bool:
    try:
        return os.stat(path).st_uid == os.getuid()
    except OSError:
        return False
