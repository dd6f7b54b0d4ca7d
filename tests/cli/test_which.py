"""Verbs speak of one Byway: its socket, its config, its passwords; never of a mixture of two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
COMMAND = (sys.executable, "-m", "byway")

CONFIG = """
inbounds: {home: {type: mixed, listen: "127.0.0.1:%d", users: [{name: ann, password: %s}]}}
rules: [{domain: a.example, to: %s}, {otherwise: direct}]
"""


class Place:
    """A folder with a runtime folder of its own, where verbs are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "run").mkdir(mode=0o700)

    def environ(self) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if not key.startswith("BYWAY_")}
        runtime = {"XDG_RUNTIME_DIR": str(self.folder / "run"), "HOME": str(self.folder)}
        return {**own, "PYTHONPATH": str(SOURCE), **runtime}

    def said(self, *words: str, status: int = 0, **environ: str) -> str:
        done = subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            env=self.environ() | environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, done.stderr + done.stdout
        return done.stdout + done.stderr

    @contextmanager
    def running(self, config: Path | str) -> Iterator[int]:
        with subprocess.Popen(
            [*COMMAND, "run", *(["-c", str(config)] if isinstance(config, Path) else [config])],
            cwd=self.folder,
            env=self.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as program:
            assert program.stdout is not None
            try:
                yield int(program.stdout.readline().rpartition(":")[2])
            finally:
                program.terminate()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """`byway.yaml` is what would be run here; `other.yaml` is what will run."""
    place = Place(tmp_path / "here")
    (place.folder / "byway.yaml").write_text(CONFIG % (1081, "mine", "reject"))
    (place.folder / "other.yaml").write_text(CONFIG % (0, "theirs", "drop"))
    return place


def test_one_address_never_has_the_password_of_another(place: Place) -> None:
    user = ("--user", "ann")
    with place.running(place.folder / "other.yaml") as port:
        own = place.said("env", *user)
        assert f"ann:theirs@127.0.0.1:{port}" in own
        assert place.said("env", *user, "-c", "other.yaml") == own
        named = place.said("env", *user, "-c", "byway.yaml")
        assert "ann:mine@127.0.0.1:1081" in named
        assert place.said("env", *user, BYWAY_CONFIG="byway.yaml") == named
        assert "verdict  drop" in place.said("why", "a.example")
        assert "verdict  reject" in place.said("why", "a.example", "-c", "byway.yaml")


def test_another_config_is_not_changed(place: Place) -> None:
    with place.running(place.folder / "other.yaml"):
        for words in (("reload",), ("status",), ("rules", "off", "1"), ("flows",)):
            told = place.said(*words, "-c", "byway.yaml", status=1)
            assert "no running Byway uses byway.yaml" in told
        assert "other.yaml" in place.said("status", "-c", "other.yaml")
        assert place.said("rules", "off", "1", "-c", "other.yaml").endswith("other.yaml)\n")


@pytest.mark.parametrize(
    "words", [["env"], ["why", "a.example"], ["resolve", "a.example"], ["status"], ["probe"]]
)
def test_a_socket_that_is_named_is_meant(words: list[str], place: Place) -> None:
    with place.running(place.folder / "other.yaml"):
        told = place.said(*words, "--socket", "gone.sock", status=1)
        assert told.startswith("byway: Byway does not answer at gone.sock")
        assert told == place.said(*words, status=1, BYWAY_SOCKET="gone.sock")


def test_the_socket_of_another_user_is_not_asked(place: Place) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    with place.running(place.folder / "other.yaml"):
        os.chown(place.folder / "run" / "byway" / "control.sock", 12345, 12345)
        told = place.said("env", "--user", "ann", "-c", "other.yaml", status=1)
        assert "no known port" in told


def test_the_socket_of_the_config_is_found(place: Place) -> None:
    (place.folder / "byway.yaml").write_text(
        "control: {socket: own.sock}\n" + CONFIG % (0, "mine", "reject")
    )
    with place.running(place.folder / "byway.yaml") as port:
        assert json.loads(place.said("status", "--json"))["config"].endswith("byway.yaml")
        assert f"ann:mine@127.0.0.1:{port}" in place.said("env", "--user", "ann")
        told = place.said("status", "-c", str(place.folder / "byway.yaml"), HOME="/nowhere")
        assert "here/byway.yaml" in told


def test_links_have_no_config_to_ask(place: Place) -> None:
    with place.running("socks5://127.0.0.1:9"):
        told = place.said("why", "a.example", status=1)
        assert "was given links, and no config file" in told
        assert "verdict  reject" in place.said("why", "a.example", "-c", "byway.yaml")
