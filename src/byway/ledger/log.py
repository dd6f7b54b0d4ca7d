"""The log: one line per flow when it ends, and the program's own lines.

Comes in: passages, messages with fields. Goes out: finished lines, to whoever writes them. What
came from the network is escaped (no control characters reach a terminal or a file), and nothing
in here ever sees a secret.
"""

from __future__ import annotations

import json
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from byway.errors import in_words
from byway.interfaces import InForce
from byway.ledger import Passage
from byway.rules import Drop, Reject, Verdict
from byway.values.name import visible

Level = Literal["debug", "info", "warning", "error"]
RECENT = 200  # lines that are kept for later questions
LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


@dataclass(frozen=True)
class Writing:
    """Where lines go, and which. `write` takes one, without its newline."""

    write: Callable[[str], None]
    level: Level = "info"
    format: Literal["human", "json"] = "human"
    flows: bool = True
    least: int = field(init=False)
    """The rank of `level`."""

    def __post_init__(self) -> None:
        least = LEVELS[self.level]
        object.__setattr__(self, "least", least)
        object.__setattr__(self, "flows", self.flows and least <= LEVELS["info"])


@dataclass(frozen=True, kw_only=True)
class Logged:
    """The part of a generation that the log reads."""

    writing: Writing


class Log:
    """Makes lines, and has them written as it is in force. Whoever follows (`taps`) goes on
    following when that changes."""

    __slots__ = ("_in_force", "_second", "_stamp", "recent", "taps")

    def __init__(self, in_force: InForce[Logged]) -> None:
        self.taps: set[Callable[[str], None]] = set()
        self.recent: deque[str] = deque(maxlen=RECENT)
        self._in_force = in_force
        self._second = -1
        self._stamp = ""

    @classmethod
    def to(cls, writing: Writing) -> Log:
        """One that stays as it is."""
        return cls(InForce(Logged(writing=writing)))

    def debug(self, message: str, **fields: object) -> None:
        """For finding a fault in Byway."""
        if self._in_force.now.writing.least <= 10:
            self._say("debug", message, fields)

    def info(self, message: str, **fields: object) -> None:
        """The normal course of things."""
        if self._in_force.now.writing.least <= 20:
            self._say("info", message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """Something is not as it should be, and Byway goes on."""
        if self._in_force.now.writing.least <= 30:
            self._say("warning", message, fields)

    def error(self, message: str, **fields: object) -> None:
        """A failure that needs attention."""
        self._say("error", message, fields)

    def flow(self, passage: Passage) -> None:
        """The one line of a flow that ended."""
        if not self._in_force.now.writing.flows:
            return
        self._say("warning" if passage.failed else "info", "flow", flow_fields(passage))

    def fault(self, error: BaseException, **fields: object) -> None:
        """A fault of Byway's own, with its place in the code."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        place = f"{last[0].filename}:{last[0].lineno}" if last else "?"
        text = f"{type(error).__name__}: {in_words(error)}"
        self.error("internal error", **fields, error=text, at=place)

    def _say(self, level: str, message: str, fields: Mapping[str, object]) -> None:
        writing = self._in_force.now.writing
        if writing.format == "json":
            record = {"time": self._time(), "level": level, "message": message, **fields}
            line = json.dumps(record, default=_plain, separators=(",", ":"))
        else:
            line = f"{self._time()} {level} {escaped(message)}"
            for key, value in fields.items():
                if value is not None:
                    line += f" {key}={_worded(value)}"
        writing.write(line)
        self.recent.append(line)
        for tap in self.taps:
            tap(line)

    def _time(self) -> str:
        now = time.time()
        if (second := int(now)) != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now - second) * 1000):03d}Z"


def flow_fields(passage: Passage) -> dict[str, object]:
    """A passage in the words of its log line, in order."""
    flow, verdict = passage.flow, passage.verdict
    rule = None if verdict is None else verdict.rule
    return {
        "id": flow.id,
        "network": flow.network.value,
        "inbound": flow.inbound,
        "source": "unix" if flow.source is None else str(flow.source),
        "user": flow.user,
        "target": str(flow.target),
        "known": None if flow.known is None else str(flow.known),
        "sniffed": str(passage.facts.sniffed or "") or None,
        "verdict": way_of(verdict),
        "rule": None if rule is None else f"{rule.file}:{rule.line}" if rule.line else rule.text,
        "chain": ">".join(passage.chain) or None,
        "up": passage.up,
        "down": passage.down,
        "seconds": round(passage.duration, 3),
        "end": passage.reason,
    }


def way_of(verdict: Verdict | None) -> str:
    """A verdict in one word: the outbound's name, `reject`, `drop`, or `none` without one."""
    if verdict is None:
        return "none"
    if isinstance(verdict, Reject):
        return "reject"
    return "drop" if isinstance(verdict, Drop) else verdict.outbound


def escaped(text: str) -> str:
    """The text without anything that a terminal or a line reader could take for a command."""
    return text if text.isprintable() else visible(text)


def escaped_lines(text: str) -> str:
    """The same of a text of several lines."""
    return "\n".join(map(escaped, text.split("\n")))


def _plain(value: object) -> str:
    return in_words(value) if isinstance(value, BaseException) else str(value)


def _worded(value: object) -> str:
    if type(value) is int:
        return str(value)
    text = escaped(_plain(value))
    if not text or " " in text or '"' in text or "=" in text:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text
