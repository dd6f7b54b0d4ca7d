"""The live view of `byway flows --watch`: plain ANSI, frame by frame, all restored at the end."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from byway.cli.columns import clipped
from byway.cli.tables import flow_line, title

if TYPE_CHECKING:
    from byway.api.client import Answer, Client

ENTER = "\x1b[?1049h\x1b[?25l"  # the other screen, no cursor (ECMA-48; xterm's private modes)
LEAVE = "\x1b[?25h\x1b[?1049l"
BOLD, DIM, RED, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"
KEYS = "q leave  s sort  p pause"


def watch(client: Client, sorts: Sequence[str], sort: str, past: int, every: float) -> int:
    """Show frames until q, Ctrl-C or SIGTERM; `s` goes from `sort` on through the `sorts`. Raises
    NotRunning when Byway ends."""
    view = _View(sorts, sort, past)
    answer: Answer | None = None
    with _screen():
        while True:
            size = shutil.get_terminal_size()
            if answer is None or not view.paused:
                answer = client.ask(
                    "GET", "/flows", None, sort=view.sort, limit=size.lines, past=past
                )
            frame = view.frame(answer, size.columns, size.lines)
            _put("\x1b[H" + "\x1b[K\n".join(frame) + "\x1b[K\x1b[J")
            until = time.monotonic() + every
            while (left := until - time.monotonic()) > 0:
                key = _key(left)
                if key in ("q", "Q", "\x03", "\x04"):
                    return 0
                if key and view.pressed(key):
                    break


class _View:
    """What the keys decide, and the frame made of an answer."""

    def __init__(self, sorts: Sequence[str], sort: str, past: int) -> None:
        self.sorts = sorts
        self.sort = sort
        self.past = past
        self.paused = False

    def pressed(self, key: str) -> bool:
        """Obey a key; whether there is something new to show."""
        if key == "s":
            self.sort = self.sorts[(self.sorts.index(self.sort) + 1) % len(self.sorts)]
        elif key == "p":
            self.paused = not self.paused
        return key in ("s", "p")

    def frame(self, answer: Mapping[str, object], width: int, height: int) -> Sequence[str]:
        """Lines for the whole screen; live flows have two thirds of it where both are many."""
        live = cast("Sequence[Mapping[str, object]]", answer["live"])
        past = cast("Sequence[Mapping[str, object]]", answer["past"])
        room = max(height - 4, 1)
        for_past = min(len(past), max(room - len(live), room // 3))
        for_live = room - for_past
        state = " (paused)" if self.paused else ""
        head = f"{answer['total']} live flows, by {self.sort}{state}   {KEYS}"
        lines = [BOLD + clipped(head, width) + PLAIN, DIM + clipped(title(width), width) + PLAIN]
        shown = live[:for_live]
        lines += [clipped(flow_line(flow, width), width) for flow in shown]
        lines += [""] * (for_live - len(shown))
        ended = f"ended: {answer['carried']}, failed: {answer['failed']}"
        lines.append(DIM + clipped(ended, width) + PLAIN)
        for flow in past[:for_past]:
            line = clipped(flow_line(flow, width), width)
            lines.append((RED if flow["failed"] else DIM) + line + PLAIN)
        return lines


@contextmanager
def _screen() -> Iterator[None]:
    """The terminal as the view needs it; it is put back however the block ends."""
    keys = sys.stdin.fileno() if sys.stdin.isatty() else None
    former = termios.tcgetattr(keys) if keys is not None else None
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if keys is not None:
            tty.setcbreak(keys)
        _put(ENTER)
        yield
    finally:
        _put(LEAVE)
        if keys is not None and former is not None:
            termios.tcsetattr(keys, termios.TCSADRAIN, former)
        signal.signal(signal.SIGTERM, before)


def _key(within: float) -> str:
    """A key that was pressed, or nothing in time."""
    if not sys.stdin.isatty():
        time.sleep(within)
        return ""
    if not select.select([sys.stdin], [], [], within)[0]:
        return ""
    return os.read(sys.stdin.fileno(), 1).decode("latin-1") or "q"


def _put(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
