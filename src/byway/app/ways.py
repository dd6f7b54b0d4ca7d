"""Builds inbounds and outbounds from the sections of a config. A part of the root.

On config time. What they need of the host beside sockets (plugin processes) is collected, and the
app starts and ends it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Set
from types import MappingProxyType

from byway.config import Config
from byway.config.limited import alike
from byway.dialects.card import Lent, Names
from byway.dns.served import Answers
from byway.engine import Engine, ListenOptions
from byway.inbounds.entry import Means
from byway.interfaces import Inbound, Outbound
from byway.ledger.log import Log
from byway.outbounds.loops import Loops
from byway.outbounds.roster import Roster
from byway.system.own import OwnAddresses


class Ways:
    """Builds the ways of one app. `dialling` are the plugins of outbounds, which start when they
    are first needed, if something serves them; `plugins` are all, to be ended. `kept` are outbounds
    of an earlier config that stay, `former` its roster; the one of this config is `roster`.
    `loops` knows where the app listens, `answers` answers DNS clients.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        resolver: Names,
        log: Log,
        kept: Mapping[str, Outbound] = MappingProxyType({}),
        former: Roster | None = None,
        loops: Loops | None = None,
        answers: Answers | None = None,
    ) -> None:
        self.roster = Roster() if former is None else Roster(former)
        self.config = config
        self._watched = _members(config)
        self._lent = Lent(
            engine,
            engine.ciphers,
            resolver,
            log,
            OwnAddresses().holds,
            config.limits.dial,
            os.urandom,
            time.time,
            mark=config.mark,
            loops=loops,
            answers=answers,
        )
        self.plugins, self.dialling = self._lent.plugins, self._lent.dialling
        self._built: dict[str, Outbound] = dict(kept)
        if former is not None:
            self.roster.keep(kept)

    def outbounds(self) -> dict[str, Outbound]:
        """Every way out by its name. Raises OSError for a file that is not what it should be."""
        for name in (*self.config.outbounds, *self.config.groups):
            self.outbound(name)
        return self._built

    def outbound(self, name: str) -> Outbound:
        """One way out. A proxy's `via` is built before it (the config has no loops)."""
        if name in self._built:
            return self._built[name]
        if name in self.config.groups:
            group = self._built[name] = self._group(name)
            return group
        section = self.config.outbounds[name]
        watched = name in self._watched
        health = self.roster.health(name, section.server_answers) if watched else None
        via = None if section.hop is None else self.outbound(section.hop[1])
        noted = None if health is None else health.noted
        made = section.outbound(name, via, self._lent, noted)
        if health is not None:
            from byway.outbounds.member import Watched

            made = Watched(made, health)
        self._built[name] = made
        return made

    def inbound(self, name: str, means: Means, options: ListenOptions) -> Inbound:
        """One way in. Raises OSError for a file that is not what it should be."""
        return self.config.inbounds[name].inbound(name, means, options, self._lent)

    def _group(self, name: str) -> Outbound:
        """Its members are built before it."""
        from byway.app.grouping import group_of

        section = self.config.groups[name]
        members = {member: self.outbound(member) for member in section.members}
        return group_of(name, section, members, self.roster, self.config.limits.dial)


def same_way(name: str, old: Config, new: Config) -> bool:
    """Whether an outbound, and all that it leaves through, is the same in both configs."""
    if name in new.groups:
        group, same_time = new.groups[name], old.limits.dial == new.limits.dial
        same = same_time and alike(group, old.groups.get(name))
        return same and all(same_way(member, old, new) for member in group.members)
    section = new.outbounds.get(name)
    if section is None or not alike(section, old.outbounds.get(name)):
        return False
    if (name in _members(old)) != (name in _members(new)):
        return False  # who is a member is watched
    if section.dialling is not None and (old.limits.dial, old.mark) != (new.limits.dial, new.mark):
        return False
    return section.hop is None or same_way(section.hop[1], old, new)


def _members(config: Config) -> Set[str]:
    """The members of all groups."""
    return {member for group in config.groups.values() for member in group.members}
