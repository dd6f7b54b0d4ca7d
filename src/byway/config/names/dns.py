"""The section `dns`: who is asked for which names, and what is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, PrivateAttr
from pydantic_core import CoreSchema, core_schema

from byway.config.rules.conditions import Conditions
from byway.config.rules.terms import DomainKeyword, DomainRegex, DomainWildcard, SetName
from byway.flow import Target, packed_address
from byway.rules import RuleRef
from byway.values import hosts
from byway.values.name_server import ADDRESS_SCHEMA, SYSTEM, Address, ServerWord, read_address
from byway.values.section import Section
from byway.values.texts import (
    Domain,
    JsonSchema,
    Many,
    OneOrMany,
    Reads,
    Suffix,
    Way,
    duration,
    text_of,
)
from byway.values.tls import ClientTls


def _host_word(value: object) -> str:
    text = text_of(value)
    packed = packed_address(text)
    if packed is None:
        return hosts.name(text) + "." * text.endswith(".")  # an alias may be absolute
    return Target.from_packed(packed, 0).host


def _host_name(value: object) -> str:
    text = text_of(value)
    if text.startswith("*."):
        return f"*.{hosts.name(text[2:])}"
    return hosts.name(text)


@dataclass(frozen=True, slots=True)
class OrAddress:
    """Metadata for a server: its address alone may be written in place of a mapping."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._opened, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        return {"anyOf": [dict(ADDRESS_SCHEMA), dict(handler(schema))]}

    def _opened(self, value: object) -> object:
        return {"address": value} if isinstance(value, str) else value


_HOST_SCHEMA: JsonSchema = {"type": "string", "minLength": 1, "examples": ["192.0.2.5"]}
HostName = Annotated[str, Reads(_host_name, _HOST_SCHEMA)]
HostWord = Annotated[str, Reads(_host_word, _HOST_SCHEMA)]


class DnsServer(Section):
    """A name server."""

    address: Address
    """Its protocol and address: `system`, or a URL of udp, tcp, tls (DoT) or https (DoH)."""
    via: Way | None = None
    """The outbound (a name or a link) to reach it through; none: from this host."""
    bootstrap: ServerWord | None = None
    """The resolver for its own name, and those of proxies before it."""
    tls: ClientTls | None = None
    """How to verify it, if not by a public certificate for its name."""


class DnsRule(Section):
    """Which names a server resolves: every key must match, and any item of a list."""

    domain: Annotated[tuple[Domain, ...], Many] | None = None
    """The name is exactly this."""
    domain_suffix: Annotated[tuple[Suffix, ...], Many] | None = None
    """The name is this or below it."""
    domain_keyword: Annotated[tuple[DomainKeyword, ...], Many] | None = None
    """The name contains this text."""
    domain_wildcard: Annotated[tuple[DomainWildcard, ...], Many] | None = None
    """The name matches this pattern: `*` is any text, `?` any one character."""
    domain_regex: Annotated[tuple[DomainRegex, ...], Many] | None = None
    """This regex (RE2) matches in the name."""
    set: Annotated[tuple[SetName, ...], Many] | None = None
    """The name is in this set; prefixes in it count for nothing here."""
    use: Annotated[tuple[ServerWord, ...], Many]
    """The server (a name or an address), or several: the next is used when one is slow."""

    _ref: RuleRef = PrivateAttr(default=RuleRef("", 0, ""))

    @property
    def ref(self) -> RuleRef:
        """Its file, its line, and itself in one line."""
        return self._ref

    @property
    def asked(self) -> Conditions:
        """Its conditions as those of a rule about flows."""
        written = {key: getattr(self, key) for key in type(self).model_fields if key != "use"}
        return Conditions.model_construct(**written)


class DnsCache(Section):
    """How many answers are cached, and how long."""

    size: int = Field(default=4096, ge=64, le=1_000_000)
    """Answers at most, those for IPv4 and IPv6 counted apart; some 150 bytes each."""
    min: Annotated[float, duration("0s", "1h")] = Field(default="0s", validate_default=True)
    """Minimum time to cache an answer, whatever its TTL."""
    max: Annotated[float, duration("1s", "7d")] = Field(default="1d", validate_default=True)
    """Maximum time to cache an answer."""
    negative: Annotated[float, duration("1s", "3h")] = Field(default="5m", validate_default=True)
    """Maximum time to cache that a name does not exist."""
    stale: Annotated[float, duration("0s", "7d")] = Field(default="1h", validate_default=True)
    """How long to use an expired answer while a new one is fetched; 0s: never."""


class Dns(Section):
    """How names are resolved for `direct` and for rules."""

    servers: dict[str, Annotated[DnsServer, OrAddress()]] = Field(default={})
    """The servers, by name: an address, or a mapping. `system` always exists."""
    use: Annotated[tuple[ServerWord, ...], Many] = ("system",)
    """The server for names that no rule matches, or several in order."""
    rules: Annotated[tuple[DnsRule, ...], OneOrMany(empty=True)] = ()
    """Other servers for certain names; the first match decides."""
    hosts: dict[HostName, Annotated[tuple[HostWord, ...], Many]] = Field(default={})
    """Fixed answers: addresses, or another name. `*.name` is all below a name."""
    addresses: Literal["auto", "ipv4", "ipv6", "ipv4-first", "ipv6-first"] = "auto"
    """Which addresses to request; auto: IPv6 before IPv4 if this host has IPv6."""
    timeout: Annotated[float, duration("200ms", "1m")] = Field(default="5s", validate_default=True)
    """How long a server may take to answer, repeated packets included."""
    cache: DnsCache = Field(default_factory=DnsCache)
    """The cache."""

    def server(self, word: str) -> DnsServer:
        """A server by its name, or by the address that stands in place of one."""
        if word in self.servers:
            return self.servers[word]
        return DnsServer.model_construct(address=read_address(word))

    def words(self) -> tuple[str, ...]:
        """Every server that is named or written anywhere, `system` included."""
        uses = [*self.use, *(word for rule in self.rules for word in rule.use)]
        starts = [server.bootstrap for server in self.servers.values() if server.bootstrap]
        return tuple(dict.fromkeys((*self.servers, *uses, *starts, SYSTEM)))
