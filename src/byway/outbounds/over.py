"""Ways over other ways: what leaves by one, leaves by the one under it.

Some are there once, for every flow; those over a way that a group chose, or that is watched, are
made for one dial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from byway.flow import Dial, Flow, Step, Target
from byway.interfaces import Binding, Datagrams, Outbound, Stream, Way


class Single:
    """An outbound that is a way itself: its only one."""

    __slots__ = ()

    steps: Sequence[Step] = ()

    def failed(self, error: BaseException) -> bool:
        """There is no other way."""
        return False

    def worked(self) -> None:
        """Nobody wants to know."""

    def ended(self, up: int, down: int, began: float) -> None:
        """Nobody wants to know."""


class Over:
    """What `owner` makes of a way. Two are equal that one owner made of equal ways."""

    __slots__ = ("_owner", "via")

    def __init__(self, owner: object, via: Way) -> None:
        self._owner = owner
        self.via = via

    @property
    def chain(self) -> tuple[str, ...]:
        """As the way below."""
        return self.via.chain

    @property
    def is_local(self) -> bool:
        """As the way below."""
        return self.via.is_local

    @property
    def steps(self) -> Sequence[Step]:
        """As the way below."""
        return self.via.steps

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Over) and self._owner is other._owner and self.via == other.via

    def __hash__(self) -> int:
        return hash((id(self._owner), self.via))

    async def connect(self, dial: Dial) -> Stream:
        """As the way below."""
        return await self.via.connect(dial)

    async def associate(self, dial: Dial) -> Datagrams:
        """As the way below."""
        return await self.via.associate(dial)

    async def locate(self, dial: Dial) -> Target:
        """As the way below."""
        return await self.via.locate(dial)

    async def bind(self, dial: Dial) -> Binding:
        """As the way below."""
        return await self.via.bind(dial)

    def failed(self, error: BaseException) -> bool:
        """Tell the way below."""
        return self.via.failed(error)

    def worked(self) -> None:
        """Tell the way below."""
        self.via.worked()

    def ended(self, up: int, down: int, began: float) -> None:
        """Tell the way below."""
        self.via.ended(up, down, began)


def ways_over(
    made: Callable[[Way], Way], via: Outbound, flow: Flow, steps: list[Step] | None, peek: bool
) -> Iterable[Way]:
    """What is `made` of each way of `via`."""
    return (made(way) for way in via.ways(flow, steps, peek))
