"""How a flow's outbound was chosen: each decision of each group."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """Whether a member of a group may be taken; the lower the better."""

    WELL = 0  # the last that was seen of it was good, or nothing was seen yet
    TRIAL = 1  # it failed, and its time out is over
    OUT = 2


@dataclass(frozen=True, slots=True)
class Rank:
    """A member as its group sees it at one moment.

    `dial` is the smoothed seconds of its dials, `answer` what a probe takes beyond; None while
    unknown. `failures` stand in a row, `back` is when it may be tried again (`time.monotonic`), and
    `why` its last failure.
    """

    member: str
    state: State
    dial: float | None = None
    answer: float | None = None
    failures: int = 0
    back: float = 0.0
    why: str = ""

    @property
    def is_known(self) -> bool:
        """Whether anything was seen of it yet."""
        return self.dial is not None or self.failures > 0


@dataclass(frozen=True, slots=True)
class Step:
    """A group took a member, and why; or (`failed`) the member that it took failed, and how.

    `ranking` is what it knew of all its members, in the config's order.
    """

    group: str
    member: str
    told: str
    failed: bool = False
    ranking: tuple[Rank, ...] = ()
