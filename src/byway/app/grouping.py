"""Builds the groups of a config. A part of the root, imported where a config has groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byway.config import (
    BalanceGroup,
    Config,
    FallbackGroup,
    FastestGroup,
    GroupConfig,
    SelectGroup,
)
from byway.flow import TCP_AND_UDP, Network
from byway.interfaces import Outbound
from byway.outbounds.chooser import Balance, Chooser, Fallback, Fastest, Select, Standing
from byway.outbounds.group import Group
from byway.outbounds.probe import Asking
from byway.outbounds.prober import Probing
from byway.outbounds.roster import Roster


def group_of(
    name: str, section: GroupConfig, members: Mapping[str, Outbound], roster: Roster, dial: float
) -> Group:
    """The group, with its chooser in the roster, where its members are already."""
    carries = {
        network: [
            roster.standing(member) for member, way in members.items() if network in way.networks
        ]
        for network in TCP_AND_UDP
    }
    chooser = _chooser(name, section, carries, roster.choices.get(name))
    roster.add(chooser)
    return Group(chooser, members, dial)


def _chooser(
    name: str,
    section: GroupConfig,
    carries: Mapping[Network, Sequence[Standing]],
    choice: str | None,
) -> Chooser:
    """The mind of a group: `carries` are its members for each network, `choice` a person's."""
    match section:
        case SelectGroup():
            return Select(name, carries, section.default or section.members[0], choice)
        case FastestGroup():
            return Fastest(name, carries, section.tolerance, _trusting(section))
        case FallbackGroup():
            return Fallback(name, carries, _trusting(section))
        case BalanceGroup():
            return Balance(name, carries, section.by, _trusting(section))


def probings(config: Config, choosers: Mapping[str, Chooser]) -> list[Probing]:
    """The groups that are probed, and how."""
    return [
        Probing(
            choosers[name],
            Asking(section.probe.url, section.probe.expect, section.probe.timeout),
            section.probe.every,
        )
        for name, section in config.groups.items()
        if not isinstance(section, SelectGroup) and section.probe.url is not None
    ]


def _trusting(section: FastestGroup | FallbackGroup | BalanceGroup) -> bool:
    """Whether members that failed are tried by flows again, as no probe tries them."""
    return section.probe.url is None
