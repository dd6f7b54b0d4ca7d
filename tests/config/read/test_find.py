"""Where a config is sought."""

from __future__ import annotations

from pathlib import Path

from byway.config import find


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}\n")
    return path


def test_the_nearest_place_wins(tmp_path: Path) -> None:
    here, home, system = tmp_path / "here", tmp_path / "home", tmp_path / "etc"
    environ = {"HOME": str(home)}

    assert find(None, environ, here, system) is None
    for path in (
        system / "byway.yaml",
        home / ".config" / "byway" / "byway.yaml",
        here / "byway.yaml",
    ):
        put(path)
        assert find(None, environ, here, system) == path
    environ["BYWAY_CONFIG"] = "named.yaml"
    assert find(None, environ, here, system) == here / "named.yaml"
    assert find("/asked.yaml", environ, here, system) == Path("/asked.yaml")


def test_an_own_config_folder_takes_the_place_of_the_usual_one(tmp_path: Path) -> None:
    home, own = tmp_path / "home", tmp_path / "own"
    put(home / ".config" / "byway" / "byway.yaml")
    file = put(own / "byway" / "byway.yaml")
    environ = {"HOME": str(home), "XDG_CONFIG_HOME": str(own), "BYWAY_CONFIG": ""}

    assert find(None, environ, tmp_path, tmp_path) == file
    environ["XDG_CONFIG_HOME"] = "relative"
    assert find(None, environ, tmp_path, tmp_path) == home / ".config" / "byway" / "byway.yaml"
