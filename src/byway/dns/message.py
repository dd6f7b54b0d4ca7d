"""DNS messages (RFC 1035): a question out, and what an answer to it says. Pure.

Reading and writing is dnspython's. It is imported with this file, and this file only where a config
asks for a server of its own.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from typing import Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from byway.engine import Outcome
from byway.errors import PeerError

Family = Literal[4, 6]

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
    """What is asked: the addresses of one family of a name. `wire` is the whole query."""

    name: str
    family: Family
    wire: bytes
    message: dns.message.QueryMessage = field(repr=False)

    @property
    def id(self) -> bytes:
        """The two bytes that an answer to it begins with."""
        return self.wire[:2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server knows: addresses in its order, and for how many seconds that holds.

    `alias`: the name has another one, whose addresses the server did not tell.
    """

    outcome: Outcome
    addresses: tuple[bytes, ...]
    lifetime: float
    alias: str | None = None


def question(
    name: str,
    family: Family,
    number: int,
    padded: bool = False,
    edns: bool = True,
    trusting: bool = False,
) -> Question:
    """A query for a name's addresses. Raises ValueError for a name that DNS cannot hold.

    Without EDNS there is no padding either (RFC 7830), and packets hold 512 bytes. `trusting` asks
    whether the answer is authentic (the AD bit, RFC 6840, section 5.7).
    """
    try:
        qname = dns.name.Name([*name.removesuffix(".").encode("ascii").split(b"."), b""])
    except (dns.exception.DNSException, ValueError) as error:
        raise ValueError(f"{name[:80]!r} is not a DNS name: {error}") from None
    message = dns.message.make_query(qname, _KINDS[family], id=number)
    if edns:
        message.use_edns(0, payload=PAYLOAD, pad=BLOCK if padded else 0)
    if trusting:
        message.flags |= dns.flags.AD
    return Question(name, family, message.to_wire(), message)


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
    try:
        return _told(asked, message)
    except dns.exception.DNSException as error:
        raise Failed(f"invalid answer: {error or type(error).__name__}") from None


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
