"""The load generator: built once, then called; its answers are flat JSON objects of numbers."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from measure.processes import Process
from measure.site import TARGET, Site, inside

Figures = dict[str, float]
"""One run's figures by name; the names carry the unit."""

_CRATE = Path(__file__).resolve().parent.parent / "loadgen"

_PATIENCE = 30.0
"""Seconds past its own time that the generator may take."""


class GeneratorError(Exception):
    """A run brought no figures; the text says why."""


def build(target: Path) -> Path:
    """Compile it if need be; returns the program."""
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--target-dir", str(target)]
    subprocess.run(command, cwd=_CRATE, check=True)
    return target / "release" / "loadgen"


class Generator:
    """The load generator at a site."""

    def __init__(self, program: Path, site: Site) -> None:
        self.program = str(program)
        self.site = site

    def run(
        self, words: Sequence[str], via: str, seconds: float, warm: float, target: str = ""
    ) -> Figures:
        """Put a load on the target by this way. Raises GeneratorError."""
        return self.bare([*words, "--via", via, "--target", target or TARGET], seconds, warm)

    def bare(self, words: Sequence[str], seconds: float, warm: float) -> Figures:
        """Run it with these words. Raises GeneratorError."""
        command = [self.program, *words, "--secs", f"{seconds:g}", "--warm", f"{warm:g}"]
        limit = seconds + _PATIENCE
        try:
            done = subprocess.run(
                [*inside(self.site.near), *command],
                capture_output=True,
                text=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise GeneratorError(f"no answer within {limit:.0f} s") from None
        return parse(done.stdout, done.stderr)

    def target(self) -> Process:
        """The server on the far host."""
        command = [self.program, "target", "--listen", "0.0.0.0:7000"]
        return Process(self.site.far, command, self.site.folder / "target.log")

    def probe(self, address: str, namespace: str) -> subprocess.Popen[str]:
        """Start asking whether an address accepts; `accepted_at` waits for the answer."""
        command = [self.program, "probe", "--target", address, "--secs", "40"]
        return subprocess.Popen([*inside(namespace), *command], stdout=subprocess.PIPE, text=True)

    @staticmethod
    def accepted_at(probe: subprocess.Popen[str], process: Process) -> int | None:
        """When the probed address first accepted; None if it never did, or the process ended."""
        while probe.poll() is None:
            if not process.alive:
                probe.kill()
            time.sleep(0.01)
        answer, _ = probe.communicate()
        try:
            return int(parse(answer)["t_ns"])
        except GeneratorError:
            return None

    @staticmethod
    def clock() -> int:
        """The clock `accepted_at` is read from: monotonic nanoseconds."""
        return time.monotonic_ns()

    def hold(self, via: str, flows: int, target: str = "") -> Held:
        """Opens so many flows and keeps them."""
        words = ["idle", "--conns", str(flows), "--via", via, "--target", target or TARGET]
        return Held([*inside(self.site.near), self.program, *words])


class Held:
    """Flows kept open and silent by a running generator."""

    def __init__(self, command: Sequence[str]) -> None:
        self._popen = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait_ready(self) -> int:
        """How many flows are open, once all are or have failed."""
        if self._popen.stdout is None:
            return 0
        words = self._popen.stdout.readline().split()
        return int(words[1]) if words[:1] == ["READY"] else 0

    def release(self) -> int:
        """Use each flow once more and close it; returns how many still worked."""
        try:
            answer, _ = self._popen.communicate(input="\n", timeout=_PATIENCE)
            return int(parse(answer)["alive"])
        except (GeneratorError, subprocess.TimeoutExpired):
            return 0

    def kill(self) -> None:
        """End it without ceremony; harmless after `release`."""
        self._popen.kill()
        self._popen.communicate()


def parse(answer: str, complaint: str = "") -> Figures:
    """The figures in an answer's last line. Raises GeneratorError with what it says instead."""
    lines = [line for line in answer.splitlines() if line.startswith("{")]
    if not lines:
        raise GeneratorError((answer + complaint).strip()[-300:] or "no answer")
    found = json.loads(lines[-1])
    if "error" in found:
        raise GeneratorError(str(found["error"]))
    return {name: float(value) for name, value in found.items()}
