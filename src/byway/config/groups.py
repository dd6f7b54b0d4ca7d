"""What a person may write about groups: outbounds that choose among others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from byway.config.section import Section
from byway.config.values import Many, Way, duration


class _Members(Section):
    members: Annotated[tuple[Way, ...], Many]
    """Among which it chooses: outbounds, links, other groups, `direct`; the first is preferred."""


class SelectGroup(_Members):
    """A person chooses: `byway select`."""

    type: Literal["select"]
    default: Way | None = None
    """The member that is taken until somebody chooses; none: the first."""


class FastestGroup(_Members):
    """The member with the least delay."""

    type: Literal["fastest"]
    tolerance: Annotated[float, duration("0s", "10s")] = Field(
        default="50ms", validate_default=True
    )
    """By how much another must be faster before it is taken instead."""


class FallbackGroup(_Members):
    """The first member that works."""

    type: Literal["fallback"]


class BalanceGroup(_Members):
    """All members that work, in turns."""

    type: Literal["balance"]
    by: Literal["round-robin", "hash", "sticky"] = "round-robin"
    """round-robin: each flow takes the next member; hash: the target's site says which; sticky:
    the next one, and from then on the same for this source and site."""


GroupConfig = Annotated[
    SelectGroup | FastestGroup | FallbackGroup | BalanceGroup, Field(discriminator="type")
]
