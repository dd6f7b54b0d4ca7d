"""What a person may write about groups: outbounds that choose among others."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from byway.protocols.web_address import WebAddress
from byway.values.limit import Limit
from byway.values.section import Section
from byway.values.texts import JsonSchema, Many, OneOrMany, Reads, Way, duration, text_of
from byway.values.wrong import Wrong

PROBE_URL = "https://www.gstatic.com/generate_204"
"""Answers 204 and nothing else, is reachable nearly everywhere, and what other programs ask too."""


def _address(value: object) -> WebAddress | None:
    text = text_of(value)
    if text == "off":
        return None
    try:
        return WebAddress.parse(text)
    except (ValueError, UnicodeError) as error:
        raise Wrong(f"not a web address: {error}", f"off, or for example {PROBE_URL}") from None


def _status(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 599:
        return value
    raise Wrong("expected the status of an HTTP answer", "200 to 599, for example 204")


_URL_SCHEMA: JsonSchema = {
    "anyOf": [{"const": "off"}, {"type": "string", "pattern": "^https?://"}],
}
_STATUS_SCHEMA: JsonSchema = {"type": "integer", "minimum": 200, "maximum": 599}

ProbeUrl = Annotated[WebAddress | None, Reads(_address, _URL_SCHEMA)]
Status = Annotated[int, Reads(_status, _STATUS_SCHEMA)]


class Probe(Section):
    """How members are tested that no flow tests."""

    url: ProbeUrl = Field(default=PROBE_URL, validate_default=True)
    """What is asked for through the member: an http or https URL; `off`: nothing, ever."""
    expect: Annotated[tuple[Status, ...], OneOrMany(empty=True)] = ()
    """The statuses that count as an answer; none: 200 to 299."""
    every: Annotated[float, duration("5s", "1d")] = Field(default="3m", validate_default=True)
    """A member that saw no flow for so long is probed, while its group is in use."""
    timeout: Annotated[float, duration("100ms", "1m")] = Field(default="5s", validate_default=True)
    """How long an answer may take."""


class _Members(Section):
    members: Annotated[tuple[Way, ...], Many]
    """Among which it chooses: outbounds, links, other groups, `direct`; the first is preferred."""
    limit: Limit | None = None
    """What flows that leave by it may use, all together."""


class SelectGroup(_Members):
    """A person chooses: `byway select`."""

    type: Literal["select"]
    default: Way | None = None
    """The member that is taken until somebody chooses; none: the first."""


class _Tested(_Members):
    probe: Probe = Field(default_factory=Probe)
    """How members are tested that no flow tests."""


class FastestGroup(_Tested):
    """The member with the least delay."""

    type: Literal["fastest"]
    tolerance: Annotated[float, duration("0s", "10s")] = Field(
        default="50ms", validate_default=True
    )
    """By how much another must be faster before it is taken instead."""


class FallbackGroup(_Tested):
    """The first member that works."""

    type: Literal["fallback"]


class BalanceGroup(_Tested):
    """All members that work, in turns."""

    type: Literal["balance"]
    by: Literal["round-robin", "hash", "sticky"] = "round-robin"
    """round-robin: each flow takes the next member; hash: the target's site says which; sticky:
    the next one, and from then on the same for this source and site."""


GroupConfig = Annotated[
    SelectGroup | FastestGroup | FallbackGroup | BalanceGroup, Field(discriminator="type")
]
