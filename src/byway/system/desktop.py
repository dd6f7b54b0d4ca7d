"""The proxy settings of desktops: GNOME and its kin (gsettings), KDE (kreadconfig, kwriteconfig).

Values are texts as the desktop's own tools write them, so that what was there goes back as it was;
None stands for a key that is not set. These calls wait for other programs: off the event loop.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from byway.errors import BywayError, in_words
from byway.flow import Target

PATIENCE = 10.0  # seconds for a tool
_GNOME_KIN = {"gnome", "unity", "cinnamon", "x-cinnamon", "budgie", "mate", "pantheon", "ubuntu"}
_LOOPBACK = "localhost,127.0.0.1,::1"

Values = Mapping[str, str | None]


class DesktopError(BywayError):
    """The desktop's settings cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a desktop is to be told: a PAC file, or proxies for HTTP and SOCKS."""

    http: Target | None = None
    socks: Target | None = None
    pac: str | None = None


class Desktop(Protocol):
    """The settings of one desktop, by key."""

    @property
    def name(self) -> str: ...
    def read(self) -> Values:
        """All keys that may be written. Raises DesktopError."""

    def write(self, values: Values) -> None:
        """Set these, in their order. Raises DesktopError."""

    def values(self, wanted: Wanted, now: Values) -> Values:
        """What says so here: what goes last switches it on."""


class Gnome:
    """GNOME's settings, which Chromium, Firefox and programs of GLib read."""

    name = "gnome"

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def read(self) -> Values:
        """All keys below org.gnome.system.proxy."""
        output = _run(["gsettings", "list-recursively", _SCHEMA], self._environ)
        found: dict[str, str | None] = {}
        for line in output.splitlines():
            schema, _, rest = line.partition(" ")
            key, _, value = rest.partition(" ")
            name = f"{schema.removeprefix(_SCHEMA).lstrip('.')} {key}".strip()
            if name in _GNOME_KEYS:
                found[name] = value.strip()
        return found

    def write(self, values: Values) -> None:
        """Set these keys."""
        for name, value in values.items():
            part, _, key = name.rpartition(" ")
            schema = f"{_SCHEMA}.{part}" if part else _SCHEMA
            if value is None:
                _run(["gsettings", "reset", schema, key], self._environ)
            else:
                _run(["gsettings", "set", schema, key, value], self._environ)

    def values(self, wanted: Wanted, now: Values) -> Values:
        """Hosts and ports of each kind of proxy, and the mode."""
        if wanted.pac is not None:
            return {"autoconfig-url": _quoted(wanted.pac), "mode": "'auto'"}
        found: dict[str, str | None] = {}
        for part, target in (
            ("http", wanted.http),
            ("https", wanted.http),
            ("socks", wanted.socks),
        ):
            found[f"{part} host"] = _quoted("" if target is None else target.host)
            found[f"{part} port"] = "0" if target is None else str(target.port)
        return {**found, "mode": "'manual'"}


class Kde:
    """KDE's settings, which programs of KDE and Chromium read. `read_tool` and `write_tool` are of
    the same edition."""

    name = "kde"

    def __init__(self, environ: Mapping[str, str], read_tool: str, write_tool: str) -> None:
        self._environ = environ
        self._read_tool = read_tool
        self._write_tool = write_tool

    def read(self) -> Values:
        """The keys of the group Proxy Settings."""
        return {key: self._value(key) for key in _KDE_KEYS}

    def write(self, values: Values) -> None:
        """Set these keys, and have running programs read them again."""
        for key, value in values.items():
            words = [self._write_tool, *_KDE_PLACE, "--key", key]
            words += ["--delete", ""] if value is None else ["--", value]
            _run(words, self._environ)
        if shutil.which("gdbus", path=self._environ.get("PATH")):
            signal = "org.kde.KIO.Scheduler.reparseSlaveConfiguration"
            place = ["--session", "--object-path", "/KIO/Scheduler"]
            with contextlib.suppress(DesktopError):  # without a session nobody is to be told
                _run(["gdbus", "emit", *place, "--signal", signal, ""], self._environ)

    def values(self, wanted: Wanted, now: Values) -> Values:
        """Proxies as "http://host port", as KDE's own dialog writes them."""
        if wanted.pac is not None:
            return {"Proxy Config Script": wanted.pac, "ProxyType": "2"}
        found: dict[str, str | None] = {}
        for key, scheme, target in (
            ("httpProxy", "http", wanted.http),
            ("httpsProxy", "http", wanted.http),
            ("socksProxy", "socks", wanted.socks),
        ):
            if target is not None:
                host = f"[{target.host}]" if ":" in target.host else target.host
                found[key] = f"{scheme}://{host} {target.port}"
            else:
                found[key] = None
        if not now.get("NoProxyFor"):
            found["NoProxyFor"] = _LOOPBACK
        return {**found, "ProxyType": "1"}

    def _value(self, key: str) -> str | None:
        words = [self._read_tool, *_KDE_PLACE, "--key", key, "--default", _UNSET]
        found = _run(words, self._environ).removesuffix("\n")
        return None if found == _UNSET else found


def desktop(environ: Mapping[str, str], name: str | None = None) -> Desktop:
    """The desktop of this session, or the one that is named. Raises DesktopError."""
    if name is None:
        words = {word.lower() for word in environ.get("XDG_CURRENT_DESKTOP", "").split(":")}
        name = "kde" if "kde" in words else "gnome" if words & _GNOME_KIN else None
    if name is None:
        raise DesktopError(
            "unknown desktop (XDG_CURRENT_DESKTOP)",
            "use --desktop gnome or kde; `byway env` is for shells",
        )
    path = environ.get("PATH")
    if name == "gnome":
        if shutil.which("gsettings", path=path) is None:
            raise DesktopError("gsettings is not installed", "it is part of GLib")
        return Gnome(environ)
    for edition in ("6", "5"):
        tools = (f"kreadconfig{edition}", f"kwriteconfig{edition}")
        if all(shutil.which(tool, path=path) for tool in tools):
            return Kde(environ, *tools)
    raise DesktopError("neither kwriteconfig6 nor kwriteconfig5 is installed")


def _run(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """What a tool prints. Raises DesktopError with what it said."""
    try:
        done = subprocess.run(
            words,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DesktopError(f"{words[0]} cannot be asked: {in_words(error)}") from error
    if done.returncode != 0:
        said = done.stderr.strip().split("\n")[0][:200]
        raise DesktopError(f"{words[0]} failed: {said or f'status {done.returncode}'}")
    return done.stdout


def _quoted(text: str) -> str:
    """A string in the text form of GVariant."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_SCHEMA = "org.gnome.system.proxy"
_GNOME_KEYS = {
    "autoconfig-url",
    "http host",
    "http port",
    "https host",
    "https port",
    "socks host",
    "socks port",
    "mode",
}
_KDE_PLACE = ("--file", "kioslaverc", "--group", "Proxy Settings")
_KDE_KEYS = (
    "Proxy Config Script",
    "httpProxy",
    "httpsProxy",
    "socksProxy",
    "NoProxyFor",
    "ProxyType",
)
_UNSET = "\x02unset"
