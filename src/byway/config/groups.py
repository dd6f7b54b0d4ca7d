"""The sections of groups: outbounds that choose among others."""

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
    """How members without flows are tested."""

    url: ProbeUrl = Field(default=PROBE_URL, validate_default=True)
    """The URL to request through the member (http or https); `off`: no probes."""
    expect: Annotated[tuple[Status, ...], OneOrMany(empty=True)] = ()
    """The statuses that count as an answer; none: 200 to 299."""
    every: Annotated[float, duration("5s", "1d")] = Field(default="3m", validate_default=True)
    """Probe a member after this long without a flow, while its group is in use."""
    timeout: Annotated[float, duration("100ms", "1m")] = Field(default="5s", validate_default=True)
    """Time limit of a response."""


class _Members(Section):
    members: Annotated[tuple[Way, ...], Many]
    """The members: outbounds, links, other groups, `direct`; the first is preferred."""
    limit: Limit | None = None
    """The limit shared by all flows through it."""


class SelectGroup(_Members):
    """Selected by hand: `byway select`."""

    type: Literal["select"]
    default: Way | None = None
    """The member that is used until one is selected; none: the first."""


class _Tested(_Members):
    probe: Probe = Field(default_factory=Probe)
    """How members without flows are tested."""


class FastestGroup(_Tested):
    """The member with the lowest delay."""

    type: Literal["fastest"]
    tolerance: Annotated[float, duration("0s", "10s")] = Field(
        default="50ms", validate_default=True
    )
    """Switch only to a member that is faster by more than this."""


class FallbackGroup(_Tested):
    """The first working member."""

    type: Literal["fallback"]


class BalanceGroup(_Tested):
    """All working members, in turn."""

    type: Literal["balance"]
    by: Literal["round-robin", "hash", "sticky"] = "round-robin"
    """round-robin: each flow takes the next member; hash: the target's site says which; sticky:
    the next one, and from then on the same for this source and site."""


GroupConfig = Annotated[
    SelectGroup | FastestGroup | FallbackGroup | BalanceGroup, Field(discriminator="type")
]
