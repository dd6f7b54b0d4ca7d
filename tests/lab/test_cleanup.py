"""A lab leaves nothing behind, however it ends; nor does it need root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

import pytest

import byway
from byway.lab import Lab, guard, sweep_stale

pytestmark = pytest.mark.lab

# A lab with a daemon that has left its session and its parent behind, and a chrooted one.
STORY = """\
import signal, sys
from byway.lab import Lab, serve_web
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell's "&" ignores it
with Lab() as lab:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    serve_web(b, "site.example")
    a.start(["sh", "-c", "setsid sleep 1000 & echo up"], ready="up")
    print(lab.directory, flush=True)
    if sys.argv[1] == "raise":
        raise ValueError("on purpose")
    sys.stdin.read()
"""


@pytest.fixture
def story(possible: None) -> Iterator[Callable[[str], tuple[subprocess.Popen[str], Path]]]:
    started: list[subprocess.Popen[str]] = []

    def start(how: str) -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", STORY, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        started.append(process)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def eventually(look: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not look():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def guard_of(directory: Path) -> int:
    """The process whose command line names the guard and the directory."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        words = place.read_bytes().split(b"\0")
        if guard.__file__.encode() in words and str(directory).encode() in words:
            return int(place.parent.name)
    raise AssertionError(f"no guard of {directory}")


def gone(directory: Path) -> bool:
    return not directory.exists() and not guard.members(directory.name)


Story = Callable[[str], tuple[subprocess.Popen[str], Path]]


def test_after_an_exception(story: Story) -> None:
    process, directory = story("raise")
    _, err = process.communicate()
    assert "on purpose" in err
    assert gone(directory)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_after_a_signal(story: Story, number: signal.Signals) -> None:
    process, directory = story("wait")
    assert len(guard.members(directory.name)) >= 4
    process.send_signal(number)
    process.wait()
    assert eventually(lambda: gone(directory))


def test_the_next_start_cleans_up_when_the_guard_was_killed_too(story: Story) -> None:
    process, directory = story("wait")
    os.kill(guard_of(directory), signal.SIGKILL)
    process.kill()
    process.wait()
    assert guard.members(directory.name)
    sweep_stale()
    assert gone(directory)


def test_a_living_run_is_not_stale(possible: None) -> None:
    with Lab() as lab:
        a = lab.host("a")
        sweep_stale()
        assert lab.directory.exists()
        assert a.run(["true"]).returncode == 0


ROOTLESS = """\
import os
from byway.lab import Lab, serve_web
assert os.geteuid() != 0
with Lab() as lab:
    a, home, wall = lab.host("a"), lab.router("home", nat=True), lab.wall()
    b = lab.host("b")
    lab.lan("flat", a, home)
    lab.link(home, wall)
    lab.link(wall, b, delay=0.02)
    lab.resolver(b)
    serve_web(b, "free.example", "bad.example")
    wall.reset("bad.example")
    for name in ("free", "bad"):
        print(a.run(["curl", "-sS", f"https://{name}.example/"]).returncode)
    print(bool(wall.capture().find(b"bad.example")))
"""


def test_without_root(possible: None) -> None:
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o755)
        shutil.copytree(
            Path(byway.__file__).parent / "lab", place / "byway" / "lab", dirs_exist_ok=True
        )
        for name in ("__init__.py", "errors.py"):
            shutil.copy(Path(byway.__file__).parent / name, place / "byway" / name)
        python = interpreter_for_anyone()
        done = subprocess.run(
            [python, "-c", ROOTLESS],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(place), "HOME": "/"},
            capture_output=True,
            text=True,
            cwd="/",
            **as_nobody(),
        )
        if "unprivileged user namespaces" in done.stderr:
            pytest.skip(done.stderr.strip().splitlines()[-1])
        assert done.stdout.split() == ["0", "35", "True"], done.stderr
    finally:
        shutil.rmtree(place)


class Credentials(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def as_nobody() -> Credentials:
    return {} if os.geteuid() else {"user": 65534, "group": 65534, "extra_groups": []}


def interpreter_for_anyone() -> str:
    for python in (sys.executable, "/usr/bin/python3"):
        words = [python, "-c", "import sys; assert sys.version_info >= (3, 11)"]
        try:
            done = subprocess.run(words, capture_output=True, cwd="/", **as_nobody())
            if done.returncode == 0:
                return python
        except OSError:
            continue
    pytest.skip("no Python 3.11 that an unprivileged user may run")
