"""What a rule may ask, and the sets it may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from byway.config.rules.terms import (
    AddressSize,
    CountryCode,
    DomainKeyword,
    DomainRegex,
    DomainWildcard,
    GroupPath,
    ProgramName,
    ProgramPath,
    PythonName,
    SetItem,
    SetName,
    SniffedProtocolName,
    SystemNumber,
    UserNumber,
    WebPlace,
    WeekSpan,
)
from byway.rules import RuleRef
from byway.values.limit import Limit
from byway.values.section import Section, keys_of
from byway.values.texts import (
    Domain,
    FilePath,
    InboundName,
    Many,
    NetworkName,
    Ports,
    PrefixText,
    Suffix,
    UserName,
    Way,
    duration,
    size,
)

_NOWHERE = RuleRef("", 0, "")


class SniffedConditions(Section):
    """What is asked of a flow's first bytes; all of it must hold."""

    protocol: Annotated[tuple[SniffedProtocolName, ...], Many] | None = None
    """The first bytes are of this protocol: tls, http, quic, ssh, dns, stun, dtls, bittorrent."""
    domain: Annotated[tuple[Domain, ...], Many] | None = None
    """The name asked for inside is just this."""
    domain_suffix: Annotated[tuple[Suffix, ...], Many] | None = None
    """The name asked for inside is this or below it."""
    domain_keyword: Annotated[tuple[DomainKeyword, ...], Many] | None = None
    """The name asked for inside has this text in it."""
    domain_wildcard: Annotated[tuple[DomainWildcard, ...], Many] | None = None
    """The name asked for inside is like this."""
    domain_regex: Annotated[tuple[DomainRegex, ...], Many] | None = None
    """This regex (RE2) finds something in the name asked for inside."""
    set: Annotated[tuple[SetName, ...], Many] | None = None
    """The name asked for inside is in this set."""


class Conditions(Section):
    """What is asked of a flow: every key must hold, and a list means any of its items."""

    domain: Annotated[tuple[Domain, ...], Many] | None = None
    """The target's name is just this."""
    domain_suffix: Annotated[tuple[Suffix, ...], Many] | None = None
    """The target's name is this or below it."""
    domain_keyword: Annotated[tuple[DomainKeyword, ...], Many] | None = None
    """The target's name has this text in it."""
    domain_wildcard: Annotated[tuple[DomainWildcard, ...], Many] | None = None
    """The target's name is like this: `*` is any text, `?` any one character."""
    domain_regex: Annotated[tuple[DomainRegex, ...], Many] | None = None
    """This regex (RE2) finds something in the target's name."""
    ip: Annotated[tuple[PrefixText, ...], Many] | None = None
    """The target's address is in this prefix; a name is resolved first."""
    ip_version: AddressSize | None = None
    """The target's address is IPv4 or IPv6; a name is resolved first."""
    private: bool | None = None
    """The target's address is one of a private network, or is none; a name is resolved first."""
    country: Annotated[tuple[CountryCode, ...], Many] | None = None
    """The target's address is in this country (see `geo`); a name is resolved first."""
    asn: Annotated[tuple[SystemNumber, ...], Many] | None = None
    """The target's address belongs to this autonomous system; a name is resolved first."""
    port: Annotated[tuple[Ports, ...], Many] | None = None
    """The target's port: a number, or a range `8000-8100` (parsed: first and last)."""
    network: Annotated[tuple[NetworkName, ...], Many] | None = None
    """tcp or udp."""
    inbound: Annotated[tuple[InboundName, ...], Many] | None = None
    """The inbound by which it came."""
    user: Annotated[tuple[UserName, ...], Many] | None = None
    """The user whom it belongs to."""
    source: Annotated[tuple[PrefixText, ...], Many] | None = None
    """The address it came from is in this prefix."""
    source_port: Annotated[tuple[Ports, ...], Many] | None = None
    """The port it came from."""
    source_country: Annotated[tuple[CountryCode, ...], Many] | None = None
    """The address it came from is in this country (see `geo`)."""
    source_asn: Annotated[tuple[SystemNumber, ...], Many] | None = None
    """The address it came from belongs to this autonomous system."""
    source_set: Annotated[tuple[SetName, ...], Many] | None = None
    """The address it came from is in this set (see `sets`)."""
    time: Annotated[tuple[WeekSpan, ...], Many] | None = None
    """It is this time of the week, local time: `mon-fri 09:00-17:30`."""
    process: Annotated[tuple[ProgramName, ...], Many] | None = None
    """The file of the program that it came from has this name."""
    process_path: Annotated[tuple[ProgramPath, ...], Many] | None = None
    """The program that it came from is this file, or below this folder (with a / at the end)."""
    uid: Annotated[tuple[UserNumber, ...], Many] | None = None
    """The process that it came from runs as this user of the system."""
    cgroup: Annotated[tuple[GroupPath, ...], Many] | None = None
    """The process that it came from is in this control group, or below."""
    set: Annotated[tuple[SetName, ...], Many] | None = None
    """It is in this set (see `sets`)."""
    sniffed: SniffedConditions | None = None
    """Its first bytes say this; it is told yes before, where it waits for that."""
    and_: Annotated[tuple[Conditions, ...], Many] | None = Field(default=None, alias="and")
    """All of these hold."""
    or_: Annotated[tuple[Conditions, ...], Many] | None = Field(default=None, alias="or")
    """One of these holds, at least."""
    not_: Conditions | None = Field(default=None, alias="not")
    """This does not hold."""
    resolve: bool | None = None
    """False: no name is resolved for these; only an earlier rule gives one addresses."""

    def within(self) -> Iterator[Conditions]:
        """These, and all that stand inside them."""
        yield self
        for part in (*(self.and_ or ()), *(self.or_ or ()), *((self.not_,) if self.not_ else ())):
            yield from part.within()


ASKING = tuple(key for key in keys_of(Conditions) if key != "resolve")
"""The keys that ask something: `resolve` alone says only how."""


class RuleEntry(Conditions):
    """One rule: what it asks, and to where a flow goes for which all of it holds."""

    to: Way | None = None
    """Where it goes then: an outbound (a name or a link), `reject` or `drop`."""
    python: PythonName | None = None
    """The function that says where it goes, if anywhere: `file.py:function`."""
    otherwise: Way | None = None
    """Where everything else goes; the last rule, alone in it."""
    enabled: bool = True
    """False: the rule is switched off, as if it were not there."""
    limit: Limit | None = None
    """What the flows that it decides may use, all together."""

    _ref: RuleRef = PrivateAttr(default_factory=lambda: _NOWHERE)  # a default would be copied

    @property
    def ref(self) -> RuleRef:
        """Its file, its line, and itself in one line."""
        return self._ref

    @property
    def way(self) -> str:
        """The outbound's name, `reject` or `drop`; empty where a function says it."""
        if self.python is not None:
            return ""
        return self.to or self.otherwise or "direct"


class InlineSet(Section):
    """A set written in the config itself."""

    type: Literal["inline"]
    items: Annotated[tuple[SetItem, ...], Many]
    """Its entries, as the lines of a file of this format (of sing-box: rules, each as JSON)."""
    format: Literal["lines", "clash", "hosts", "adblock", "sing-box"] = "lines"
    """How they are written."""


class FileSet(Section):
    """A set read from a file."""

    type: Literal["file"]
    path: FilePath
    """The file. A relative path counts from the config's folder."""
    format: Literal["lines", "clash", "hosts", "adblock", "sing-box"] = "lines"
    """How it is written."""


class UrlSet(Section):
    """A set fetched from the web, again and again, while Byway runs."""

    type: Literal["url"]
    url: WebPlace
    """Where the list is: http:// or https://."""
    format: Literal["auto", "lines", "clash", "hosts", "adblock", "sing-box"] = "auto"
    """How it is written; auto: as it looks."""
    via: Way = "direct"
    """The outbound (a name or a link) by which it is fetched."""
    every: Annotated[float, duration("1m", "365d")] = Field(default="1d", validate_default=True)
    """How long until the server is asked for a newer one."""
    max: Annotated[int, size("1KiB", "256MiB")] = Field(default="64MiB", validate_default=True)
    """The largest list that is taken."""


SetConfig = Annotated[InlineSet | FileSet | UrlSet, Field(discriminator="type")]
