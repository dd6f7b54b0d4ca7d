"""The look-ups that are under way: shared by those who wait for one, and bounded.

One that nobody waits for any more goes on, since whoever left often comes back; but it gives its
place up to the next that needs one. Whoever asks has a bound of his own, by his address and by his
name, past which the oldest of his own is given up: so nobody keeps others from being answered, nor
himself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextvars import ContextVar
from typing import Generic, Protocol, TypeVar

from byway.errors import Reason, Unreachable
from byway.flow import Flow, source_key

T = TypeVar("T")

ASKER: ContextVar[Flow | None] = ContextVar("ASKER", default=None)
"""The flow for which this task asks for names; None: nobody's."""

Asker = tuple[Hashable, ...]


class Begin(Protocol):
    """Runs a look-up as a task."""

    def __call__(self, work: Coroutine[None, None, T]) -> asyncio.Task[T | None]: ...


class Lookup(Generic[T]):
    """One of them; `waiting` is how many wait for it."""

    __slots__ = ("askers", "key", "task", "waiting")

    def __init__(self, key: Hashable, task: asyncio.Task[T | None]) -> None:
        self.key = key
        self.task = task  # cancelled when its place went to another
        self.waiting = 0
        self.askers: Asker = ()


class Lookups(Generic[T]):
    """At most `most` of them, and `each` that are waited for by one address or user."""

    def __init__(self, begin: Begin, most: int, each: int) -> None:
        self._begin = begin
        self._most = most
        self._each = each
        self._all: dict[Hashable, Lookup[T]] = {}
        self._left: dict[Hashable, Lookup[T]] = {}  # those that nobody waits for, the oldest first
        self._of: dict[Hashable, dict[Hashable, Lookup[T]]] = {}  # the others, by who asked

    def join(
        self, key: Hashable, name: str, work: Callable[[], Coroutine[None, None, T]]
    ) -> Lookup[T]:
        """Wait for a look-up, which begins if it is not under way. `leave` it afterwards.

        Raises Unreachable where there is no place for it.
        """
        lookup = self._all.get(key)
        if lookup is None or lookup.waiting == 0:
            askers = askers_of(ASKER.get())
            self._make_room(askers, name, begun=lookup is not None)
            if lookup is None:
                lookup = self._begun(key, work)
            self._left.pop(key, None)
            lookup.askers = askers
            for asker in askers:
                self._of.setdefault(asker, {})[key] = lookup
        lookup.waiting += 1
        return lookup

    def renew(self, key: Hashable, work: Callable[[], Coroutine[None, None, T]]) -> None:
        """Begin a look-up for which nobody waits, if there is a place that nobody else needs."""
        if key not in self._all and len(self._all) < self._most:
            self._left[key] = self._begun(key, work)

    def leave(self, lookup: Lookup[T]) -> None:
        """Wait for it no longer."""
        lookup.waiting -= 1
        if lookup.waiting == 0:
            self._forget_askers(lookup)
            if self._all.get(lookup.key) is lookup:
                self._left[lookup.key] = lookup

    def close(self) -> None:
        """End all of them."""
        for lookup in tuple(self._all.values()):
            lookup.task.cancel()

    def _begun(self, key: Hashable, work: Callable[[], Coroutine[None, None, T]]) -> Lookup[T]:
        lookup = self._all[key] = Lookup(key, self._begin(work()))
        lookup.task.add_done_callback(lambda _: self._ended(lookup))
        return lookup

    def _make_room(self, askers: Asker, name: str, begun: bool) -> None:
        """Give up what is in the way: what nobody waits for, else the oldest of whoever has most.

        So a client with many names that nobody tells still gets answers to its newest.
        """
        for asker in askers:
            if len(self._of.get(asker, ())) >= self._each:
                self._give_up_one_of(asker, name)
        if begun or len(self._all) < self._most:
            return
        if self._left:
            self._give_up(next(iter(self._left.values())))
            return
        heaviest = max(self._of, key=lambda asker: len(self._of[asker]), default=None)
        count = 0 if heaviest is None else len(self._of[heaviest])
        if count <= max((len(self._of.get(asker, ())) for asker in askers), default=0) + 1:
            why = f"too many names wait to be resolved ({self._most})"
            raise Unreachable(why, name, Reason.LIMIT)
        self._give_up_one_of(heaviest, name)

    def _give_up_one_of(self, asker: Hashable, name: str) -> None:
        for lookup in self._of[asker].values():
            if lookup.waiting == 1:  # others have no part in it
                self._give_up(lookup)
                return
        why = f"too many names of one client wait to be resolved ({self._each})"
        raise Unreachable(why, name, Reason.LIMIT)

    def _give_up(self, lookup: Lookup[T]) -> None:
        self._ended(lookup)
        self._forget_askers(lookup)
        lookup.task.cancel()

    def _forget_askers(self, lookup: Lookup[T]) -> None:
        askers, lookup.askers = lookup.askers, ()
        for asker in askers:
            mine = self._of[asker]
            if mine.get(lookup.key) is lookup:
                del mine[lookup.key]
            if not mine:
                del self._of[asker]

    def _ended(self, lookup: Lookup[T]) -> None:
        if self._all.get(lookup.key) is lookup:
            del self._all[lookup.key]
            self._left.pop(lookup.key, None)


def given_up(name: str) -> Unreachable:
    """What those hear whose look-up was cancelled."""
    why = f"cannot resolve {name}: too many other names of this client waited"
    return Unreachable(why, name, Reason.LIMIT)


def askers_of(flow: Flow | None) -> Asker:
    """What counts as one client: where a flow comes from, and its user."""
    if flow is None:
        return ()
    source = source_key(flow.source)
    user = () if flow.user is None else ((flow.inbound, flow.user),)
    return user if source is None else (source, *user)
