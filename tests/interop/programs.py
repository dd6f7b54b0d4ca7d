"""Real programs for the interop tests: found or skipped, started on free ports, ended by pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
# What a client program sees: nothing that names a proxy of the machine the tests run on.
CLEAN = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | {
    "PATH": PATH,
    "LC_ALL": "C.UTF-8",
}
T = TypeVar("T")
IN_CI = os.environ.get("CI", "").lower() == "true"


def need(name: str) -> str:
    """The path of a program. Where it is missing the test skips visibly, and in CI fails."""
    found = shutil.which(name, path=PATH)
    if found is None:
        missing(f"{name} is not installed (make peers installs it)")
    return found


def missing(why: str) -> NoReturn:
    """Skip for a part this machine lacks; in CI, where everything was installed, fail."""
    if IN_CI:
        pytest.fail(why)
    pytest.skip(why)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago for TCP and UDP, for programs that can choose none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        with (
            socket.socket(family, socket.SOCK_STREAM) as tcp,
            socket.socket(family, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind((host, 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return int(tcp.getsockname()[1])


PATIENCE = 100.0  # seconds until something that ought to happen has failed, also on a busy machine


def until(condition: Callable[[], T], within: float = PATIENCE, what: str = "it") -> T:
    """Ask again and again until the answer is true; AssertionError after so many seconds."""
    pause = threading.Event()
    deadline = time.monotonic() + within
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {within:g} s for {what}"
        pause.wait(0.02)
    return answer


def answers(host: str, port: int) -> bool:
    """Whether somebody accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def run(
    *command: str | Path,
    data: bytes | None = None,
    within: float = PATIENCE,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a client to its end and return what it said. Never raises for its exit status."""
    return subprocess.run(
        [str(word) for word in command],
        input=data if data is not None else b"",
        capture_output=True,
        timeout=within,
        env={**CLEAN, **(env or {})},
        cwd=cwd,
        check=False,
    )


def told(done: subprocess.CompletedProcess[bytes]) -> bytes:
    """The output of a client that must have succeeded; its complaint is in the failure."""
    assert done.returncode == 0, (
        f"{done.args[0]}: {done.returncode}, {done.stderr[-2000:]!r}, {done.stdout[:500]!r}"
    )
    return bytes(done.stdout)


class Program:
    """One running server program, with its output in a file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**CLEAN, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def output(self) -> str:
        """All it printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ready(self, host: str, *ports: int, within: float = PATIENCE) -> None:
        """Wait until it accepts connections on every port; fails at once when it has died."""
        for port in ports:
            until(partial(self._serving, host, port), within, f"{host}:{port}")

    def says(self, words: str, within: float = PATIENCE) -> None:
        """Wait until it has printed these words."""
        until(lambda: words in self.output or not self._alive(), within, repr(words))

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ended(self, within: float = PATIENCE) -> int:
        """Wait for its end; the exit status (negative: the signal)."""
        return self.process.wait(within)

    def stop(self, within: float = PATIENCE) -> int:
        """End it politely, then not, and its children with it. Returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # Workers of forking servers share its session; they go with it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return int(self.process.returncode)

    def _serving(self, host: str, port: int) -> bool:
        return self._alive() and answers(host, port)

    def _alive(self) -> bool:
        status = self.process.poll()
        assert status is None, f"{self.process.args!r} ended with {status}: {self.output[-3000:]}"
        return True


@contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    *ports: int,
    host: str = "127.0.0.1",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Program]:
    """A server program, ready on its TCP ports, ended when the block ends."""
    program = Program(command, log, env=env, cwd=cwd)
    try:
        program.ready(host, *ports)
        yield program
    finally:
        program.stop()
