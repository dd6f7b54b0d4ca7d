"""How the demo tells its story: acts, commands with what came back, and a table at the end."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

_WIDTH = 78
_SHOWN = 9  # lines of a program's output, at most


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `good` is None for what could not be tried here."""

    what: str
    expected: str
    seen: str
    good: bool | None


class Teller:
    """Writes the story as it happens and remembers how it went."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._color = self._out.isatty() and not os.environ.get("NO_COLOR")
        self.rows: list[Row] = []

    def act(self, number: int, title: str) -> None:
        """Begin an act."""
        self._line("")
        self._line(self._paint("1;36", f"── {number}. {title} ".ljust(_WIDTH, "─")))

    def say(self, *lines: str) -> None:
        """Say something to the reader."""
        for line in lines:
            self._line(f"  {line}")

    def show(self, text: str) -> None:
        """Show a picture or a file as it is."""
        for line in text.strip("\n").splitlines():
            self._line(self._paint("2", f"    {_printable(line)}"))

    def command(
        self, where: str, argv: Sequence[str], env: Mapping[str, str] | None = None
    ) -> None:
        """Show a command line before it runs."""
        before = "".join(f"{name}={shlex.quote(value)} " for name, value in (env or {}).items())
        prompt = self._paint("1;33", f"{where}$")
        self._line(f"\n  {prompt} {before}{shlex.join(argv)}")

    def output(self, text: str) -> None:
        """Show what came back, or the most telling part of it."""
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        for line in lines[:_SHOWN]:
            self._line(f"    {_clipped(_printable(line))}")
        if len(lines) > _SHOWN:
            self._line(f"    ... {len(lines) - _SHOWN} more lines")

    def check(self, what: str, expected: str, seen: str, good: bool) -> None:
        """Compare what was seen with what was expected; it goes into the table too."""
        self.rows.append(Row(what, expected, _clipped(seen, 40), good))
        mark = self._paint("32", "✓") if good else self._paint("1;31", "✗")
        text = f"expected {expected}, and so it was" if good else f"expected {expected}, saw {seen}"
        self._line(f"    {mark} {text}")

    def skip(self, what: str, why: str) -> None:
        """Say that something cannot be tried here; it is no failure, but it shows."""
        self.rows.append(Row(what, "-", f"skipped: {why}", None))
        self._line(self._paint("33", f"    ○ skipped: {what}: {why}"))

    def table(self) -> bool:
        """Print the table. Returns whether all that was tried went as expected."""
        self._line("")
        self._line(
            self._paint("1;36", "── What was expected, and what was seen ".ljust(_WIDTH, "─"))
        )
        what = max((len(row.what) for row in self.rows), default=4)
        expected = max((len(row.expected) for row in self.rows), default=8)
        for row in self.rows:
            mark, color = {True: ("✓", "32"), False: ("✗", "1;31"), None: ("○", "33")}[row.good]
            cells = f"{row.what:<{what}}  {row.expected:<{expected}}  {row.seen}"
            self._line(f"  {self._paint(color, mark)} {cells}")
        return self._verdict(self.rows)

    def _verdict(self, rows: Iterable[Row]) -> bool:
        counts = {good: sum(row.good is good for row in rows) for good in (True, False, None)}
        text = f"{counts[True]} as expected, {counts[False]} not, {counts[None]} skipped"
        good = counts[False] == 0 and counts[True] > 0
        self._line("")
        self._line(self._paint("1;32" if good else "1;31", f"  {text}"))
        return good

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._color else text

    def _line(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def _printable(text: str) -> str:
    """What came over the network must not drive the terminal."""
    return "".join(char if char.isprintable() else "·" for char in text)


def _clipped(text: str, width: int = 100) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
