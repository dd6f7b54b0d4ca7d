"""Verdicts, the rules that gave them, and the facts of the judge.

A verdict is not an outbound: `Reject` and `Drop` send a flow nowhere, and `Lacks` is no verdict at
all but the judge's question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from byway.flow import Process, Sniffed, frozen


class Fact(Enum):
    """A fact that a rule may need beyond the flow itself; the caller fetches it and asks again."""

    ADDRESS = "address"
    MOMENT = "moment"
    PROCESS = "process"
    MAC = "mac"
    SNIFFED = "sniffed"
    ANSWER = "answer"


@frozen
class Said:
    """The answer of a rule in Python: a way, or None for no match.

    `note` tells what went wrong, for people; `place` is the same for the same fault.
    """

    way: str | None
    note: str = ""
    place: str = ""


class Function(Protocol):
    """A function of a rule in Python."""

    @property
    def name(self) -> str:
        """Its file and its name."""

    @property
    def needs(self) -> Sequence[Fact]:
        """The facts that it needs."""


@frozen
class Facts:
    """The facts found about a flow so far. A field is None until it is needed.

    `addresses` are the packed addresses of the target's name, empty when the name has none: a rule
    that needs them does not match then. Several addresses match when any of them does. They are
    `open` to conditions that do not resolve once an earlier rule has asked for them, or from the
    start where nobody needs to be asked. `moment` is when the flow is judged, in local time;
    `process` is empty when it cannot be seen, `sniffed` when nothing was understood, and `mac` (of
    the device that it came from) when no link knows it. `query` is the type of record that is
    asked for, where a question about a name is judged and no flow.
    """

    addresses: tuple[bytes, ...] | None = None
    moment: datetime | None = None
    process: Process | None = None
    sniffed: Sniffed | None = None
    answers: tuple[tuple[Function, Said], ...] = ()
    open: bool = False
    mac: str | None = None
    query: int = 0

    def knows(self, fact: Fact) -> bool:
        """Whether it was found out (an answer: any)."""
        match fact:
            case Fact.ADDRESS:
                return self.addresses is not None
            case Fact.MOMENT:
                return self.moment is not None
            case Fact.PROCESS:
                return self.process is not None
            case Fact.MAC:
                return self.mac is not None
            case Fact.SNIFFED:
                return self.sniffed is not None
            case Fact.ANSWER:
                return bool(self.answers)

    def said(self, function: Function) -> Said | None:
        """The answer of a function, None before it."""
        for one, said in self.answers:
            if one is function:
                return said
        return None


@dataclass(frozen=True, slots=True)
class RuleRef:
    """Which rule decided: its file and line, and the rule in one line (no secrets in it)."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else self.text


@dataclass(frozen=True, slots=True)
class Via:
    """Leave by this outbound."""

    outbound: str
    rule: RuleRef


@dataclass(frozen=True, slots=True)
class Reject:
    """Tell the near side no."""

    rule: RuleRef


@dataclass(frozen=True, slots=True)
class Drop:
    """Tell the near side nothing."""

    rule: RuleRef


@frozen
class Lacks:
    """The judge cannot tell without this fact; an answer is that of a `function`."""

    fact: Fact
    function: Function | None = None


Verdict = Via | Reject | Drop

NO_FACTS = Facts()
