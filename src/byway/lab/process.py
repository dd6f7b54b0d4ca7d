"""A program running on a lab host, and how to know that it is ready. No sleeps that hope."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from byway.errors import BywayError

T = TypeVar("T")
_TICK = 0.005  # seconds between looks at what is waited for


class NotReady(BywayError):  # noqa: N818 - a state, as Refused and Unreachable are
    """A program ended, or its time ran out, before it was ready; the text has what it said."""


class Process:
    """A started program. What it prints goes to a file, which `output` reads at any time."""

    def __init__(
        self,
        argv: list[str],
        name: str,
        log: Path,
        env: dict[str, str],
        stdin: IO[bytes] | int = subprocess.DEVNULL,
    ) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as out:
            self.popen = subprocess.Popen(
                argv, stdin=stdin, stdout=out, stderr=out, env=env, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Its process id, as this side sees it."""
        return self.popen.pid

    def output(self) -> str:
        """What it has printed so far, stdout and stderr together."""
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, timeout: float = 20) -> re.Match[str]:
        """Wait until its output matches. Raises NotReady when it ends or time runs out first."""
        seek = partial(self._seek, re.compile(pattern, re.MULTILINE))
        return self.wait_until(seek, timeout, pattern)

    def _seek(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.search(self.output())

    def wait_until(self, look: Callable[[], T | None], timeout: float, what: str) -> T:
        """Look again and again until there is something. Raises NotReady."""
        until = time.monotonic() + timeout
        while not (seen := look()):
            ended = self.popen.poll()
            if ended is not None and not (seen := look()):
                raise NotReady(f"{self.name} ended ({ended}) before {what!r}: {self.output()}")
            if time.monotonic() > until:
                raise NotReady(f"{self.name}: no {what!r} in {timeout:g} s: {self.output()}")
            time.sleep(_TICK)
        return seen

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def wait(self, timeout: float = 10) -> int:
        """Wait for its end and return its status. Raises subprocess.TimeoutExpired."""
        return self.popen.wait(timeout)

    def stop(self, patience: float = 2.0) -> int:
        """End it: SIGTERM, and SIGKILL to its session when that did not do. Idempotent."""
        self.signal(signal.SIGTERM)
        if self.popen.stdin is not None:
            self.popen.stdin.close()
        try:
            return self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)
            return self.popen.wait(patience)


def listening(pid: int, port: int, network: str = "tcp") -> bool:
    """Whether anything in the network namespace of `pid` listens there (proc_net_tcp; state 0A)."""
    state = "0A" if network == "tcp" else "07"
    for table in (network, network + "6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state and int(fields[1].rpartition(":")[2], 16) == port:
                return True
    return False
