"""A desktop session of a test's own: a home, a bus, and the real tools of GNOME and KDE."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

TOOLS = {"gnome": ("gsettings", "dbus-daemon"), "kde": ("kreadconfig5", "kwriteconfig5")}


def need(name: str) -> None:
    """Skip where the tools of a desktop are not installed."""
    for tool in TOOLS[name]:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


@contextmanager
def session(folder: Path, name: str) -> Iterator[Mapping[str, str]]:
    """The environment of a session; nothing of the host's own is touched."""
    need(name)
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    keep = {key: value for key, value in os.environ.items() if key in ("PATH", "LANG")}
    environ = {
        **keep,
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_RUNTIME_DIR": str(runtime),
        "BYWAY_SOCKET": str(runtime / "c.sock"),  # not the one of a Byway of this host
        "XDG_CURRENT_DESKTOP": {"gnome": "ubuntu:GNOME", "kde": "KDE"}[name],
    }
    (folder / "config").mkdir()
    if name == "kde":
        yield {**environ, "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
        return
    with subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as bus:
        assert bus.stdout is not None
        try:
            yield {**environ, "DBUS_SESSION_BUS_ADDRESS": bus.stdout.readline().strip()}
        finally:
            bus.terminate()


class Seen:
    """The settings as a program of the desktop sees them, by the desktop's own tools."""

    def __init__(self, environ: Mapping[str, str], name: str) -> None:
        self._environ = dict(environ)
        self._name = name

    def get(self, key: str) -> str:
        if self._name == "gnome":
            return self._told("gsettings", "get", *_gnome(key))
        return self._told("kreadconfig5", *_KDE, "--key", key)

    def put(self, key: str, value: str) -> None:
        if self._name == "gnome":
            self._told("gsettings", "set", *_gnome(key), value)
        else:
            self._told("kwriteconfig5", *_KDE, "--key", key, "--", value)

    def _told(self, *words: str) -> str:
        done = subprocess.run(
            words, env=self._environ, capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout.strip()


_KDE = ("--file", "kioslaverc", "--group", "Proxy Settings")


def _gnome(key: str) -> tuple[str, str]:
    part, _, last = key.rpartition(" ")
    return f"org.gnome.system.proxy{'.' + part if part else ''}", last
