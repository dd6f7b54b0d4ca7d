"""The settings of real desktops, taken and given back, with the desktops' own tools."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from byway.flow import Target
from byway.system.desktop import Desktop, DesktopError, Wanted, desktop
from byway.system.settings import Settings
from tests.system.desktops import Seen, session

BOTH = Wanted(Target.of("127.0.0.1", 1080), Target.of("127.0.0.1", 1080))
PAC = Wanted(pac="http://127.0.0.1:1080/proxy.pac")
OTHER = Wanted(Target.of("::1", 8080), None)

# by desktop: keys, with what they are before, by proxies, and by a PAC file
KEYS: dict[str, dict[str, tuple[str, str, str]]] = {
    "gnome": {
        "mode": ("'none'", "'manual'", "'auto'"),
        "http host": ("'it''s'".replace("''s", "\\'s"), "'127.0.0.1'", "'it\\'s'"),
        "http port": ("8080", "1080", "8080"),
        "socks host": ("''", "'127.0.0.1'", "''"),
        "autoconfig-url": ("''", "''", "'http://127.0.0.1:1080/proxy.pac'"),
    },
    "kde": {
        "ProxyType": ("", "1", "2"),
        "httpProxy": ("http://old 3128", "http://127.0.0.1 1080", "http://old 3128"),
        "socksProxy": ("", "socks://127.0.0.1 1080", ""),
        "Proxy Config Script": ("", "", "http://127.0.0.1:1080/proxy.pac"),
    },
}


@contextmanager
def at(folder: Path, name: str) -> Iterator[tuple[Mapping[str, str], Settings, Desktop, Seen]]:
    with session(folder, name) as environ:
        seen = Seen(environ, name)
        if name == "gnome":
            seen.put("http host", '"it\'s"')
        else:
            seen.put("httpProxy", "http://old 3128")
        yield environ, Settings(environ, os.getuid()), desktop(environ), seen


def before(name: str, key: str) -> str:
    if (name, key) == ("gnome", "http host"):
        return '"it\'s"'
    return KEYS[name][key][0]


@pytest.mark.parametrize("name", ["gnome", "kde"])
def test_settings_are_taken_and_given_back(name: str, tmp_path: Path) -> None:
    with at(tmp_path, name) as (environ, settings, there, seen):
        assert settings.taken() is None
        settings.take(there, BOTH)

        assert {key: seen.get(key) for key in KEYS[name]} == {
            key: values[1] for key, values in KEYS[name].items()
        }
        assert settings.path is not None
        assert stat.S_IMODE(settings.path.stat().st_mode) == 0o600
        assert settings.changed(there, settings.taken()) == []  # type: ignore[arg-type]

        again = Settings(environ, os.getuid())  # another process, after a crash
        assert list(again.give_back(there)) == []
        assert {key: seen.get(key) for key in KEYS[name]} == {
            key: before(name, key) for key in KEYS[name]
        }
        assert not settings.path.exists()
        assert list(again.give_back(there)) == []


@pytest.mark.parametrize("name", ["gnome", "kde"])
def test_a_pac_file_takes_the_place_of_proxies(name: str, tmp_path: Path) -> None:
    with at(tmp_path, name) as (_, settings, there, seen):
        settings.take(there, BOTH)
        settings.take(there, PAC)
        for key, values in KEYS[name].items():
            if key != "http host":
                assert seen.get(key) == values[2], key
        settings.take(there, OTHER)
        settings.give_back(there)
        for key in KEYS[name]:
            assert seen.get(key) == before(name, key), key


@pytest.mark.parametrize("name", ["gnome", "kde"])
def test_what_others_changed_is_theirs(name: str, tmp_path: Path) -> None:
    key, value = {
        "gnome": ("socks host", "'mine'"),
        "kde": ("socksProxy", "socks://mine 1"),
    }[name]
    with at(tmp_path, name) as (_, settings, there, seen):
        settings.take(there, BOTH)
        seen.put(key, value)

        assert list(settings.changed(there, settings.taken())) == [key]  # type: ignore[arg-type]
        assert list(settings.give_back(there)) == [key]

        assert seen.get(key) == value
        for other in KEYS[name]:
            if other != key:
                assert seen.get(other) == before(name, other)


def test_a_desktop_without_a_session_is_told(tmp_path: Path) -> None:
    with at(tmp_path, "gnome") as (environ, settings, _, seen):
        lost = desktop({**environ, "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"})
        with pytest.raises(DesktopError):
            settings.take(lost, BOTH)
        assert settings.taken() is None
        assert seen.get("mode") == "'none'"


def test_without_a_place_to_write_nothing_is_set(tmp_path: Path) -> None:
    with at(tmp_path, "kde") as (environ, _, there, seen):
        (tmp_path / "file").write_text("")
        settings = Settings({**environ, "XDG_STATE_HOME": str(tmp_path / "file")}, 1000)
        with pytest.raises(DesktopError, match="cannot be saved"):
            settings.take(there, BOTH)
        assert seen.get("ProxyType") == ""


def test_a_dead_owner_left_its_settings_behind(tmp_path: Path) -> None:
    with at(tmp_path, "kde") as (_, settings, there, _):
        settings.take(there, BOTH, owner=2**22 + 5)  # no such process
        left = settings.left_behind()
        assert left is not None
        assert left.desktop == "kde"
        settings.take(there, BOTH)
        assert settings.left_behind() is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 1, "owner": 0, "before": 3}'])
def test_a_spoilt_note_is_none(tmp_path: Path, content: str) -> None:
    settings = Settings({"XDG_STATE_HOME": str(tmp_path)}, 1000)
    assert settings.path is not None
    settings.path.parent.mkdir(parents=True)
    settings.path.write_text(content)
    assert settings.taken() is None


def test_the_desktop_is_the_sessions() -> None:
    path = os.environ["PATH"]
    with pytest.raises(DesktopError, match="unknown desktop"):
        desktop({"PATH": path, "XDG_CURRENT_DESKTOP": "sway"})
    with pytest.raises(DesktopError, match="not installed"):
        desktop({"PATH": "/nowhere"}, "gnome")
    with pytest.raises(DesktopError, match="neither"):
        desktop({"PATH": "/nowhere"}, "kde")
