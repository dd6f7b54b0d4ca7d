"""The groups of one config and their members: every chooser by its name, every health by its own.

A reload makes another roster beside the one in force, which takes over what did not change. Of a
config without groups this is all that is ever imported of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byway.interfaces import Outbound
    from byway.outbounds.chooser import Chooser, Standing
    from byway.outbounds.health import Health


class Roster:
    """Choosers and healths. `former` is the roster in force, `choices` what people chose before."""

    def __init__(
        self,
        former: Roster | None = None,
        choices: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.choosers: dict[str, Chooser] = {}
        self.healths: dict[str, Health] = {}
        self.former = former
        self.on_change: Callable[[], None] = lambda: None  # of each change of a state
        self.choices: dict[str, str] = dict(choices if former is None else former.choices)

    def keep(self, ways: Mapping[str, Outbound]) -> None:
        """These outbounds of the former roster stay as they are."""
        assert self.former is not None
        for name in ways:
            if name in self.former.choosers:
                self.choosers[name] = self.former.choosers[name]
            elif name in self.former.healths:
                self.healths[name] = self.former.healths[name]

    def health(self, name: str, server_answers: bool = True) -> Health:
        """A new outbound's health; `server_answers` as it has it."""
        import random

        from byway.outbounds.health import Health

        made = Health(name, chance=random.random, server_answers=server_answers)
        self.healths[name] = made
        return made

    def add(self, chooser: Chooser) -> None:
        """A new group's chooser; it remembers what the one of this name knew."""
        if self.former is not None and chooser.name in self.former.choosers:
            chooser.succeed(self.former.choosers[chooser.name])
        self.choosers[chooser.name] = chooser

    def standing(self, member: str) -> Standing:
        """A member of a group: an outbound's health, or another group's chooser."""
        return self.choosers.get(member) or self.healths[member]

    def select(self, group: str, member: str) -> None:
        """A person's choice. Raises KeyError, or ValueError for what is not to be chosen."""
        self.choosers[group].select(member)
        self.choices[group] = member
        self.on_change()

    def strayed(self) -> Iterator[tuple[str, str, str]]:
        """Groups whose chosen member is gone: the group, that member, and the one now taken."""
        for chooser in self.choosers.values():
            if (strayed := chooser.strayed) is not None:
                yield chooser.name, *strayed

    def adopt(self) -> None:
        """From now on this roster is in force."""
        self.former = None
        for health in self.healths.values():
            health.changed = self.changed

    def changed(self) -> None:
        """A member's state changed, and may have changed what is chosen anywhere."""
        for chooser in self.choosers.values():
            chooser.renew()
        self.on_change()
