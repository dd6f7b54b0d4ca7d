"""What is remembered across restarts: whole, private, bounded, and never a reason to fail."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.system.state import StateFile, state_folder


def test_what_was_written_is_read(tmp_path: Path) -> None:
    place = tmp_path / "new" / "folder" / "groups.json"
    assert StateFile(place).read() == {}
    state = StateFile(place)
    assert state.write({"choices": {"auto": "paris"}, "used": 3})
    assert state.problem == ""
    assert StateFile(place).read() == {"choices": {"auto": "paris"}, "used": 3}
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(place.parent) == ["groups.json"]


@pytest.mark.parametrize(
    "spoilt",
    [b"", b"{", b"\xff\xfe", b"[1]", b"7", b"[" * 100_000, b'{"a": 1}' + b" " * 4096],
    ids=["empty", "torn", "no text", "a list", "a number", "deep", "large"],
)
def test_a_spoilt_file_is_set_aside(tmp_path: Path, spoilt: bytes) -> None:
    place = tmp_path / "quotas.json"
    place.write_bytes(spoilt)
    state = StateFile(place, most=4096 if len(spoilt) < 100_000 else 1 << 20)
    assert state.read() == {}
    assert "quotas.json is damaged" in state.problem
    assert (tmp_path / "quotas.json.spoilt").read_bytes() == spoilt
    assert not place.exists()
    assert state.read() == {}
    assert state.problem == ""


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    place = tmp_path / "quotas.json"
    os.mkfifo(place)
    state = StateFile(place)
    assert state.read() == {}
    assert "not a file" in state.problem


def test_a_failed_write_leaves_the_old_and_says_why(tmp_path: Path) -> None:
    place = tmp_path / "groups.json"
    state = StateFile(place, most=100)
    assert state.write({"a": 1})
    assert not state.write({"a": "x" * 200})
    assert "larger than 100 bytes" in state.problem
    with pytest.raises(ValueError, match="not JSON compliant"):
        state.write({"a": float("nan")})
    assert StateFile(place).read() == {"a": 1}
    assert os.listdir(tmp_path) == ["groups.json"]
    blocked = StateFile(place / "below.json")
    assert not blocked.write({"a": 2})
    assert "cannot be written" in blocked.problem
    assert blocked.read() == {}
    assert "cannot be read" in blocked.problem


def test_without_a_place_all_is_forgotten() -> None:
    state = StateFile(None)
    assert not state.write({"a": 1})
    assert "no folder" in state.problem
    assert state.read() == {}


def test_the_folder_is_systemds_the_users_or_the_systems(tmp_path: Path) -> None:
    home = {"HOME": "/home/ann"}
    xdg, unit = {"XDG_STATE_HOME": "/srv/state"}, {"STATE_DIRECTORY": "/var/lib/byway:/var/lib/b"}

    def base(environ: dict[str, str], uid: int) -> str:
        folder = state_folder("no such file", environ, uid)
        assert folder is not None
        return os.fspath(folder.parent)

    assert base(home, 1000) == "/home/ann/.local/state/byway"
    assert base(home, 0) == "/var/lib/byway"
    assert base({**home, **xdg}, 0) == "/srv/state/byway"
    assert base({**home, **xdg, **unit}, 1000) == "/var/lib/byway"
    assert base({**home, "XDG_STATE_HOME": "relative"}, 1000) == "/home/ann/.local/state/byway"
    assert state_folder("a", {}, 1000) is None


def test_each_config_has_a_folder_of_its_own(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": os.fspath(tmp_path)}
    one, other, link = tmp_path / "a.yaml", tmp_path / "b" / "a.yaml", tmp_path / "link.yaml"
    other.parent.mkdir()
    for file in (one, other):
        file.write_text("")
    link.symlink_to(one)
    folders = [state_folder(os.fspath(file), environ, 1) for file in (one, other, link)]
    assert folders[0] != folders[1]
    assert folders[0] == folders[2]
    assert folders[0] is not None
    assert folders[0].name.startswith("a.yaml-")


@given(config=st.text(max_size=300).filter(lambda text: "\0" not in text))
def test_any_config_has_a_folder(config: str) -> None:
    folder = state_folder(config, {"XDG_STATE_HOME": "/srv"}, 1)
    assert folder is not None
    assert folder.parent == Path("/srv/byway")
    assert folder.name not in (".", "..")
    assert len(folder.name) < 64


def test_others_can_read_it_as_json(tmp_path: Path) -> None:
    place = tmp_path / "a.json"
    assert StateFile(place).write({"name": "é"})
    assert json.loads(place.read_text()) == {"name": "é"}
