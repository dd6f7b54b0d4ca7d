"""The conditions of rules, and the sets that they may refer to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from byway.config.rules.terms import (
    AddressSize,
    CommandText,
    CountryCode,
    DomainKeyword,
    DomainRegex,
    DomainWildcard,
    GroupPath,
    MacAddress,
    Part,
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
    """Conditions for a flow's first bytes; all must match."""

    protocol: Annotated[tuple[SniffedProtocolName, ...], Many] | None = None
    """The protocol of the first bytes: tls, http, quic, ssh, dns, stun, dtls, bittorrent."""
    domain: Annotated[tuple[Domain, ...], Many] | None = None
    """The name in the first bytes is exactly this."""
    domain_suffix: Annotated[tuple[Suffix, ...], Many] | None = None
    """The name in the first bytes is this or below it."""
    domain_keyword: Annotated[tuple[DomainKeyword, ...], Many] | None = None
    """The name in the first bytes contains this text."""
    domain_wildcard: Annotated[tuple[DomainWildcard, ...], Many] | None = None
    """The name in the first bytes matches this pattern."""
    domain_regex: Annotated[tuple[DomainRegex, ...], Many] | None = None
    """This regex (RE2) matches in the name in the first bytes."""
    set: Annotated[tuple[SetName, ...], Many] | None = None
    """The name in the first bytes is in this set."""


class Conditions(Section):
    """The conditions for a flow: every key must match, and a list matches by any of its items."""

    domain: Annotated[tuple[Domain, ...], Many] | None = None
    """The target's name is exactly this."""
    domain_suffix: Annotated[tuple[Suffix, ...], Many] | None = None
    """The target's name is this or below it."""
    domain_keyword: Annotated[tuple[DomainKeyword, ...], Many] | None = None
    """The target's name contains this text."""
    domain_wildcard: Annotated[tuple[DomainWildcard, ...], Many] | None = None
    """The target's name matches this pattern: `*` is any text, `?` any one character."""
    domain_regex: Annotated[tuple[DomainRegex, ...], Many] | None = None
    """This regex (RE2) matches in the target's name."""
    ip: Annotated[tuple[PrefixText, ...], Many] | None = None
    """The target's address is in this prefix; a name is resolved first."""
    ip_version: AddressSize | None = None
    """The target's address is IPv4 or IPv6; a name is resolved first."""
    private: bool | None = None
    """The target's address is private; a name is resolved first."""
    country: Annotated[tuple[CountryCode, ...], Many] | None = None
    """The target's address is in this country (see `geo`); a name is resolved first."""
    asn: Annotated[tuple[SystemNumber, ...], Many] | None = None
    """The target's address belongs to this autonomous system; a name is resolved first."""
    port: Annotated[tuple[Ports, ...], Many] | None = None
    """The target's port: a number, or a range `8000-8100` (parsed: first and last)."""
    network: Annotated[tuple[NetworkName, ...], Many] | None = None
    """tcp or udp."""
    inbound: Annotated[tuple[InboundName, ...], Many] | None = None
    """Its inbound."""
    user: Annotated[tuple[UserName, ...], Many] | None = None
    """Its user."""
    source: Annotated[tuple[PrefixText, ...], Many] | None = None
    """The source address is in this prefix."""
    source_port: Annotated[tuple[Ports, ...], Many] | None = None
    """The source port."""
    source_country: Annotated[tuple[CountryCode, ...], Many] | None = None
    """The source address is in this country (see `geo`)."""
    source_asn: Annotated[tuple[SystemNumber, ...], Many] | None = None
    """The source address belongs to this autonomous system."""
    source_set: Annotated[tuple[SetName, ...], Many] | None = None
    """The source address is in this set (see `sets`)."""
    source_mac: Annotated[tuple[MacAddress, ...], Many] | None = None
    """The device that it came from has this MAC address."""
    time: Annotated[tuple[WeekSpan, ...], Many] | None = None
    """It is this time of the week, local time: `mon-fri 09:00-17:30`."""
    process: Annotated[tuple[ProgramName, ...], Many] | None = None
    """The file name of the program that opened it."""
    process_path: Annotated[tuple[ProgramPath, ...], Many] | None = None
    """The path of the program that opened it, or its folder (with a / at the end)."""
    process_path_regex: Annotated[tuple[DomainRegex, ...], Many] | None = None
    """This regex (RE2) matches in the path of the program that opened it."""
    process_command: Annotated[tuple[CommandText, ...], Many] | None = None
    """The command line of the process that opened it contains this text."""
    uid: Annotated[tuple[UserNumber, ...], Many] | None = None
    """The process that opened it runs as this system user."""
    cgroup: Annotated[tuple[GroupPath, ...], Many] | None = None
    """The process that opened it is in this control group, or below."""
    set: Annotated[tuple[SetName, ...], Many] | None = None
    """It is in this set (see `sets`)."""
    sniffed: SniffedConditions | None = None
    """Its first bytes match this; the client gets its success reply first if it waits for one."""
    and_: Annotated[tuple[Conditions, ...], Many] | None = Field(default=None, alias="and")
    """All of these match."""
    or_: Annotated[tuple[Conditions, ...], Many] | None = Field(default=None, alias="or")
    """At least one of these matches."""
    not_: Conditions | None = Field(default=None, alias="not")
    """This does not match."""
    resolve: bool | None = None
    """False: do not resolve names for these; use only addresses that are known."""

    def within(self) -> Iterator[Conditions]:
        """These, and all that stand inside them."""
        yield self
        for part in (*(self.and_ or ()), *(self.or_ or ()), *((self.not_,) if self.not_ else ())):
            yield from part.within()


ASKING = tuple(key for key in keys_of(Conditions) if key != "resolve")
"""The keys that ask something: `resolve` alone says only how."""


class RuleEntry(Conditions):
    """One rule: conditions, and the destination of flows that match all of them."""

    to: Way | None = None
    """The destination: an outbound (a name or a link), `reject` or `drop`."""
    python: PythonName | None = None
    """The function that returns the destination, or None: `file.py:function`."""
    otherwise: Way | None = None
    """The destination of everything else; alone, in the last rule."""
    enabled: bool = True
    """False: the rule is disabled."""
    limit: Limit | None = None
    """The limit shared by all flows that match it."""

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
    format: Literal["lines", "clash", "hosts", "adblock", "dnsmasq", "sing-box"] = "lines"
    """Their format."""


class FileSet(Section):
    """A set read from a file."""

    type: Literal["file"]
    path: FilePath
    """The file, relative to the folder of the config."""
    format: Literal[
        "auto",
        "lines",
        "clash",
        "hosts",
        "adblock",
        "dnsmasq",
        "sing-box",
        "v2fly",
        "srs",
        "mrs",
        "geosite",
        "geoip",
    ] = "lines"
    """Its format; auto: detected."""
    list: Part | None = None
    """The list to take from a file that has many (`geosite`, `geoip`), such as `cn`. With
    attributes (`google@ads`, of `v2fly` `@ads`), only what has all of them."""


class UrlSet(Section):
    """A set fetched from the web, and updated while Byway runs."""

    type: Literal["url"]
    url: WebPlace
    """The URL of the list: http:// or https://."""
    format: Literal[
        "auto",
        "lines",
        "clash",
        "hosts",
        "adblock",
        "dnsmasq",
        "sing-box",
        "srs",
        "mrs",
        "geosite",
        "geoip",
    ] = "auto"
    """Its format; auto: detected."""
    list: Part | None = None
    """The list to take from a file that has many (`geosite`, `geoip`), such as `cn`. With
    attributes (`google@ads`), only what has all of them."""
    via: Way = "direct"
    """The outbound (a name or a link) to fetch it through."""
    every: Annotated[float, duration("1m", "365d")] = Field(default="1d", validate_default=True)
    """The interval of updates."""
    max: Annotated[int, size("1KiB", "256MiB")] = Field(default="64MiB", validate_default=True)
    """Maximum size of the list."""


SetConfig = Annotated[InlineSet | FileSet | UrlSet, Field(discriminator="type")]
