"""The section `dns`: who is asked for which names, and what is remembered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, cast, get_args

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, PrivateAttr
from pydantic_core import CoreSchema, core_schema

from byway.config.rules.conditions import Conditions
from byway.config.rules.terms import (
    CountryCode,
    DomainKeyword,
    DomainRegex,
    DomainWildcard,
    SetName,
)
from byway.dns.policy import Given, Word
from byway.flow import Target, packed_address
from byway.rules import RuleRef
from byway.values import hosts
from byway.values.name_server import ADDRESS_SCHEMA, SYSTEM, Address, ServerWord, read_address
from byway.values.section import Section
from byway.values.texts import (
    Domain,
    InboundName,
    JsonSchema,
    Many,
    OneOrMany,
    PrefixText,
    Reads,
    Suffix,
    Way,
    duration,
    text_of,
)
from byway.values.tls import ClientTls
from byway.values.wrong import Wrong, shown


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


@dataclass(frozen=True, slots=True)
class OrTrue:
    """Metadata for a section: `true` may be written in place of an empty mapping."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._opened, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        return {"anyOf": [{"const": True}, dict(handler(schema))]}

    def _opened(self, value: object) -> object:
        return {} if value is True else value


def _pattern(value: object) -> str:
    text = text_of(value).lower()
    if text.startswith("set:"):
        return text_of(value)
    if not _PATTERN.fullmatch(text):
        hint = "a name, *.name, a pattern with * and ?, or set:name"
        raise Wrong(f"{shown(text)} is not a name or a pattern", hint)
    return text


_PATTERN = re.compile(r"[a-z0-9_.*?-]{1,253}")
NamePattern = Annotated[str, Reads(_pattern, {"type": "string", "examples": ["*.lan"]})]
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
    client_subnet: PrefixText | None = None
    """The network that it is told clients are in, for answers near to that (ECS)."""
    tls: ClientTls | None = None
    """How to verify it, if not by a public certificate for its name."""


NO_CONDITIONS = ("use", "answer", "query_type")
"""The keys of a rule that are none of a rule about flows."""


def _query_type(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
        return value
    text = text_of(value).upper()
    if (found := TYPES.get(text)) is not None:
        return found
    raise Wrong(f"{shown(text)} is not a type of record", "for example AAAA, HTTPS, TXT or 65")


def _answer(value: object) -> Given:
    items = value if isinstance(value, list | tuple) else [value]
    texts = [text_of(item) for item in items]
    if len(texts) == 1 and texts[0] in get_args(Word):
        return Given(cast("Word", texts[0]))
    packed = [packed_address(text) for text in texts]
    if not texts or None in packed:
        wrong = next((text for text in texts if packed_address(text) is None), "")
        hint = f"{', '.join(get_args(Word))}, or addresses"
        raise Wrong(f"{shown(wrong)} is not an answer", hint)
    return Given(None, tuple(filter(None, packed)))


TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "RP": 17,
    "AAAA": 28, "LOC": 29, "SRV": 33, "NAPTR": 35, "DNAME": 39, "DS": 43, "SSHFP": 44, "RRSIG": 46,
    "NSEC": 47, "DNSKEY": 48, "NSEC3": 50, "TLSA": 52, "SMIMEA": 53, "CDS": 59, "CDNSKEY": 60,
    "OPENPGPKEY": 61, "SVCB": 64, "HTTPS": 65, "SPF": 99, "URI": 256, "CAA": 257,
}  # fmt: skip
"""The types of records that have a name here; all others by their numbers (IANA)."""
QueryTypeWord = Annotated[
    int, Reads(_query_type, {"anyOf": [{"type": "string"}, {"type": "integer"}]})
]
_WORDS: JsonSchema = {"type": "string", "minLength": 1, "examples": ["refuse", "192.0.2.5"]}
Answer = Annotated[
    Given, Reads(_answer, {"anyOf": [_WORDS, {"type": "array", "items": _WORDS, "minItems": 1}]})
]


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
    query_type: Annotated[tuple[QueryTypeWord, ...], Many] | None = None
    """A client asks for records of this type: `AAAA`, `HTTPS`, or a number."""
    source: Annotated[tuple[PrefixText, ...], Many] | None = None
    """The client's address is in this prefix."""
    inbound: Annotated[tuple[InboundName, ...], Many] | None = None
    """The client asks through this inbound."""
    use: Annotated[tuple[ServerWord, ...], Many] = ()
    """The server (a name or an address), or several: the next is used when one is slow."""
    answer: Answer | None = None
    """The answer, in place of a server's: refuse, empty, nxdomain, servfail, drop, or addresses;
    real: ask the servers, whatever `fake_ip` says; fake: a fake address."""

    _ref: RuleRef = PrivateAttr(default=RuleRef("", 0, ""))

    @property
    def ref(self) -> RuleRef:
        """Its file, its line, and itself in one line."""
        return self._ref

    @property
    def asked(self) -> Conditions:
        """Its conditions as those of a rule about flows."""
        written = {
            key: getattr(self, key) for key in type(self).model_fields if key not in NO_CONDITIONS
        }
        return Conditions.model_construct(**written)


class DnsFallback(Section):
    """Other servers for names whose answers by `dns.use` are not believed, or that it cannot
    resolve."""

    use: Annotated[tuple[ServerWord, ...], Many]
    """The server, or several in order."""
    bogus: Annotated[tuple[PrefixText, ...], Many] = ()
    """Answers with an address in these prefixes are not believed."""
    country: Annotated[tuple[CountryCode, ...], Many] | None = None
    """Only answers with an address in one of these countries are believed (see `geo`)."""


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


class FakeIp(Section):
    """Fake addresses for clients: a flow to one is a flow to its name."""

    ranges: Annotated[tuple[PrefixText, ...], Many] = Field(
        default=("198.18.0.0/15", "fc00::/18"), validate_default=True
    )
    """The addresses that are used: one prefix of IPv4, of IPv6, or both."""
    exclude: Annotated[tuple[NamePattern, ...], Many] = ()
    """Names that keep their real addresses: a name, `*.name` (all below it), a pattern or set:name;
    beside those of local networks, clocks and checks for a way to the internet."""
    defaults: bool = True
    """Exclude the names of local networks, clocks and checks for a way to the internet."""
    everywhere: bool = True
    """For all names that are not excluded; false: only where a rule says `answer: fake`."""
    ttl: Annotated[float, duration("1s", "1h")] = Field(default="1s", validate_default=True)
    """How long clients may keep a fake address."""
    size: int = Field(default=65536, ge=64, le=1_000_000)
    """Names at most; the least recently used gives its address up."""


EXCLUDED = (
    "*.lan", "*.home.arpa", "*.internal", "*.localdomain", "*.intranet", "*.local", "*.localhost",
    "*.arpa",
    "time.*.com", "time.*.gov", "time.*.edu.cn", "time.*.apple.com", "time1.*.com", "time2.*.com",
    "time3.*.com", "time4.*.com", "time5.*.com", "time6.*.com", "time7.*.com", "ntp.*.com",
    "ntp?.*.com", "*.time.edu.cn", "*.ntp.org.cn", "*.pool.ntp.org", "time.cloudflare.com",
    "*.msftconnecttest.com", "*.msftncsi.com", "captive.apple.com", "connectivitycheck.*",
    "detectportal.firefox.com", "nmcheck.gnome.org", "network-test.debian.org",
    "stun.*", "*.stun.*",
)  # fmt: skip
"""What needs its real address: clocks (their clients keep addresses for long), checks for a captive
portal (which are about the address), STUN (which tells addresses), and what is near by."""


class Dns(Section):
    """How names are resolved: for `direct`, for rules, and for clients."""

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
    fallback: DnsFallback | None = None
    """Other servers, by what the answers of `use` are."""
    hijack: bool = False
    """Answer all that goes to port 53, of whatever inbound and to whatever address."""
    fake_ip: Annotated[FakeIp, OrTrue()] | None = None
    """Give clients fake addresses; `true`: with the defaults."""

    def server(self, word: str) -> DnsServer:
        """A server by its name, or by the address that stands in place of one."""
        if word in self.servers:
            return self.servers[word]
        return DnsServer.model_construct(address=read_address(word))

    def words(self) -> tuple[str, ...]:
        """Every server that is named or written anywhere, `system` included."""
        fallback = () if self.fallback is None else self.fallback.use
        uses = [*self.use, *fallback, *(word for rule in self.rules for word in rule.use)]
        starts = [server.bootstrap for server in self.servers.values() if server.bootstrap]
        return tuple(dict.fromkeys((*self.servers, *uses, *starts, SYSTEM)))
