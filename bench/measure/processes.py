"""Processes in the namespaces: started, awaited, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure import accounting
from measure.site import inside

_END_WITHIN = 8.0
"""Seconds a program has to end by itself; more than Byway's own limit for draining."""


class Process:
    """One running program. Its output goes to a file (or nowhere) and into error messages."""

    def __init__(
        self,
        namespace: str,
        command: Sequence[str],
        log: Path | None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        # What a program remembers for its next start goes away with the run's folder.
        own = {} if log is None else {"XDG_STATE_HOME": str(log.parent)}
        with (log or Path(os.devnull)).open("wb") as sink:
            self.popen = subprocess.Popen(
                [*inside(namespace), *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **own, **(env or {})},
                # Ctrl-C is for the bench, which then ends its programs in order.
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def cpu_seconds(self) -> float:
        return accounting.cpu_seconds(self.popen.pid)

    def memory(self) -> accounting.Memory:
        return accounting.memory(self.popen.pid)

    def last_words(self) -> str:
        """The end of its output, on one line."""
        if self.log is None or not self.log.exists():
            return ""
        return " ".join(self.log.read_text(errors="replace")[-600:].split())

    def stop(self) -> None:
        """End it and its children, by force if it does not obey."""
        pids = accounting.tree(self.popen.pid) if self.alive else []
        self.popen.terminate()
        try:
            self.popen.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        for pid in pids[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
