"""What the judge says, where it was said, and what the judge may know.

A verdict is not an outbound: `Reject` and `Drop` send a flow nowhere, and `Lacks` is no verdict at
all but the judge's question.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from byway.flow import Process, Sniffed


class Fact(Enum):
    """What a rule may need beyond the flow itself; whoever judges fetches it and asks again."""

    ADDRESS = "address"
    MOMENT = "moment"
    PROCESS = "process"
    SNIFFED = "sniffed"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about a flow so far. A field is None while nobody has asked for it.

    `addresses` are the packed addresses of the target's name, empty when the name has none: a rule
    that needs them does not match then. Several addresses match when any of them does. `moment` is
    when the flow is judged, in local time; `process` is empty when it cannot be seen, and `sniffed`
    when nothing was understood.
    """

    addresses: tuple[bytes, ...] | None = None
    moment: datetime | None = None
    process: Process | None = None
    sniffed: Sniffed | None = None


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


@dataclass(frozen=True, slots=True)
class Lacks:
    """The judge cannot tell without this fact."""

    fact: Fact


Verdict = Via | Reject | Drop

NO_FACTS = Facts()
