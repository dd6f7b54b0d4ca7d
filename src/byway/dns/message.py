"""DNS messages (RFC 1035): a question out, and what an answer to it says. Pure.

Reading and writing is dnspython's. It is imported with this file, and this file only where a config
asks for a server of its own.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from byway.engine import Outcome
from byway.errors import PeerError
from byway.flow import Target
from byway.values.prefix import Prefix

Family = Literal[4, 6]


class Records(NamedTuple):
    """Records of one type, as they are in a message. `secure` asks for their signatures (DO, RFC
    4035, section 3.2.1), `unchecked` for those that do not fit too (CD, section 3.2.2)."""

    kind: int
    secure: bool = False
    unchecked: bool = False


Wanted = Family | Records
"""What a server is asked for: the addresses of a family, or records."""

PAYLOAD = 1232  # bytes of a UDP answer that pass every link unfragmented (DNS flag day 2020)
BLOCK = 128  # queries inside encryption are padded to it (RFC 8467, section 4.1)
MOST_ADDRESSES = 64  # of one answer
LONGEST = 65535

_KINDS = {4: dns.rdatatype.A, 6: dns.rdatatype.AAAA}
_MAPPED = bytes(10) + b"\xff\xff"
_STRANGE_TO_EDNS = (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)
_TRUNCATED, _RESPONSE = 0x02, 0x80


class Stray(PeerError):  # noqa: N818 - says of a message what it is
    """No answer to this question: of another id, of another question, or no message at all."""


class Truncated(PeerError):  # noqa: N818
    """The answer did not fit a packet: ask again by TCP (RFC 7766, section 5)."""


class Failed(PeerError):  # noqa: N818
    """The server says that it cannot tell (SERVFAIL, REFUSED), or makes no sense."""


class NoEdns(Failed):
    """The server does not understand EDNS: ask again without it (RFC 6891, section 7)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a name. `wire` is the whole query."""

    name: str
    family: Wanted
    wire: bytes
    message: dns.message.QueryMessage = field(repr=False)

    @property
    def id(self) -> bytes:
        """The two bytes that an answer to it begins with."""
        return self.wire[:2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server knows: addresses in its order, and for how many seconds that holds.

    `alias`: the name has another one, whose addresses the server did not tell. `message` is there
    where records were asked for: what the server answered, whole.
    """

    outcome: Outcome
    addresses: tuple[bytes, ...]
    lifetime: float
    alias: str | None = None
    message: dns.message.QueryMessage | None = field(default=None, repr=False)


def question(
    name: str,
    family: Wanted,
    number: int,
    padded: bool = False,
    edns: bool = True,
    trusting: bool = False,
    subnet: Prefix | None = None,
) -> Question:
    """A query for a name's addresses or records. Raises ValueError for a name that DNS cannot hold.

    Without EDNS there is no padding either (RFC 7830), and packets hold 512 bytes. `trusting` asks
    whether the answer is authentic (the AD bit, RFC 6840, section 5.7). With a `subnet` the answer
    is to be one for clients in it (RFC 7871).
    """
    try:
        qname = name_of(name)
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{name[:80]!r} is not a DNS name: {error}") from None
    wanted = family if isinstance(family, Records) else Records(_KINDS[family])
    message = dns.message.make_query(qname, dns.rdatatype.RdataType.make(wanted.kind), id=number)
    if edns:
        flags = dns.flags.DO if wanted.secure else 0
        options: list[dns.edns.Option] = [] if subnet is None else [_subnet_option(subnet)]
        pad = BLOCK if padded else 0
        message.use_edns(0, flags, payload=PAYLOAD, options=options, pad=pad)
    if wanted.unchecked:
        message.flags |= dns.flags.CD
    if trusting:
        message.flags |= dns.flags.AD
    return Question(name, family, message.to_wire(), message)


def _subnet_option(subnet: Prefix) -> dns.edns.ECSOption:
    host, _, bits = str(subnet).partition("/")
    return dns.edns.ECSOption(host, int(bits or subnet.size * 8))


def answer(asked: Question, wire: bytes) -> Answer:
    """What a message says about a question.

    Raises Stray for what is no answer to it, Truncated, and Failed (NoEdns).
    """
    if len(wire) < 12 or wire[:2] != asked.id or not wire[2] & _RESPONSE:
        raise Stray("the message does not answer the query")
    try:
        message = dns.message.from_wire(wire, ignore_trailing=bool(wire[2] & _TRUNCATED))
    except (dns.exception.DNSException, ValueError, struct.error) as error:
        if wire[2] & _TRUNCATED:
            raise Truncated("the answer is cut off") from None
        raise Stray(f"the message cannot be read: {error}") from None
    if not isinstance(message, dns.message.QueryMessage) or not asked.message.is_response(message):
        raise Stray("the message answers another question")
    if wire[2] & _TRUNCATED:
        raise Truncated("the answer is cut off")
    code = message.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        strange = code in _STRANGE_TO_EDNS and asked.message.edns >= 0
        raise (NoEdns if strange else Failed)(f"the server answered {dns.rcode.to_text(code)}")
    if isinstance(asked.family, Records):
        return whole(message)
    try:
        return _told(asked, message)
    except dns.exception.DNSException as error:
        raise Failed(f"invalid answer: {error or type(error).__name__}") from None


def name_of(text: str) -> dns.name.Name:
    """A name in the DNS's own form, as whoever asks writes it: without escapes but those that a
    question needs. Raises ValueError or DNSException."""
    if text in ("", "."):
        return dns.name.root
    if "\\" in text:
        return dns.name.from_text(text)
    return dns.name.Name([*text.removesuffix(".").encode("ascii").split(b"."), b""])


def whole(message: dns.message.QueryMessage) -> Answer:
    """A message as an answer about records: it is good as long as its first part is (RFC 2181,
    section 5.2), or the SOA says that there is nothing (RFC 2308, section 5)."""
    unknown = message.rcode() == dns.rcode.NXDOMAIN
    if message.answer:
        outcome = Outcome.UNKNOWN if unknown else Outcome.FOUND
        lifetime = min(rrset.ttl for rrset in message.answer)
    else:
        outcome = Outcome.UNKNOWN if unknown else Outcome.EMPTY
        soas = [rrset for rrset in message.authority if rrset.rdtype == dns.rdatatype.SOA]
        lifetime = min((min(rrset.ttl, rrset[0].minimum) for rrset in soas), default=0)
    addresses = tuple(
        _packed(record.address)
        for rrset in message.answer
        if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
        for record in rrset
    )
    return Answer(outcome, addresses[:MOST_ADDRESSES], float(lifetime), message=message)


def of_addresses(
    name: str, wanted: Records, found: Sequence[bytes] | None, lifetime: float
) -> Answer:
    """Addresses of a name as a message, those of the other family left out; None: no such name."""
    asked = dns.message.make_query(name_of(name), dns.rdatatype.RdataType.make(wanted.kind), id=0)
    said = dns.message.make_response(asked)
    size = 4 if wanted.kind == dns.rdatatype.A else 16
    texts = [Target.from_packed(one, 0).host for one in found or () if len(one) == size]
    if found is None:
        said.set_rcode(dns.rcode.NXDOMAIN)
    elif texts:
        ttl, kind = max(1, int(lifetime)), dns.rdatatype.RdataType(wanted.kind)
        said.answer.append(dns.rrset.from_text_list(said.question[0].name, ttl, "IN", kind, texts))
    assert isinstance(said, dns.message.QueryMessage)
    return replace(whole(said), lifetime=lifetime)


def _told(asked: Question, message: dns.message.QueryMessage) -> Answer:
    """Follows aliases within the message, 16 at most (dnspython's bound). A lifetime without
    addresses is that of the zone's SOA (RFC 2308, section 5)."""
    chain = message.resolve_chaining()
    lifetime = float(chain.minimum_ttl)
    if chain.answer is not None:
        packed = [_packed(record.address) for record in chain.answer]
        return Answer(Outcome.FOUND, tuple(packed[:MOST_ADDRESSES]), lifetime)
    if message.rcode() == dns.rcode.NXDOMAIN:
        return Answer(Outcome.UNKNOWN, (), lifetime)
    if chain.cnames and not _says_nothing_more(message):
        alias = chain.canonical_name.to_text(omit_final_dot=True).lower()
        if "\\" in alias:
            raise Failed("the name has an invalid alias")
        lifetime = float(min(rrset.ttl for rrset in chain.cnames))
        return Answer(Outcome.EMPTY, (), lifetime, alias)
    return Answer(Outcome.EMPTY, (), lifetime)


def _says_nothing_more(message: dns.message.QueryMessage) -> bool:
    """Whether a zone says that there is nothing at the end of the aliases (RFC 2308, 2.2)."""
    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in message.authority)


def _packed(address: str) -> bytes:
    """The bytes of a record's address; an IPv4 address in IPv6 clothes is taken for what it is."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return packed[12:] if packed[:12] == _MAPPED else packed
