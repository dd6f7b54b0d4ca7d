"""The groups of one config and their members: every chooser by its name, every health by its own.

A reload makes another roster beside the one in force, which takes over what did not change.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from byway.outbounds.chooser import Chooser, Select
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
        self.choices: dict[str, str] = dict(choices if former is None else former.choices)

    def health(self, name: str) -> Health:
        """A new outbound's health."""
        made = self.healths[name] = Health(name, chance=random.random)
        return made

    def add(self, chooser: Chooser) -> None:
        """A new group's chooser; it remembers what the one of this name knew."""
        if self.former is not None and chooser.name in self.former.choosers:
            chooser.succeed(self.former.choosers[chooser.name])
        self.choosers[chooser.name] = chooser

    def select(self, group: str, member: str) -> None:
        """A person's choice. Raises KeyError, or ValueError for what is not to be chosen."""
        chooser = self.choosers[group]
        if not isinstance(chooser, Select) or member not in chooser.members:
            raise ValueError(f"{member} cannot be chosen in {group}")
        chooser.choice = self.choices[group] = member
        self.changed()

    def strayed(self) -> Iterator[tuple[str, str, str]]:
        """Groups whose chosen member is gone: the group, that member, and the one now taken."""
        for chooser in self.choosers.values():
            if isinstance(chooser, Select) and chooser.choice not in (None, chooser.selected):
                yield chooser.name, str(chooser.choice), chooser.selected

    def adopt(self) -> None:
        """From now on this roster is in force."""
        self.former = None
        for health in self.healths.values():
            health.changed = self.changed

    def changed(self) -> None:
        """A member's state changed, and may have changed what is chosen anywhere."""
        for chooser in self.choosers.values():
            chooser.renew()
