"""What clients ask of Byway, and what they are told: from bytes to bytes, as a forwarder. Pure.

A query that is none is answered with FORMERR, or with nothing where its sender could be a server
(RFC 1035, section 4.1; RFC 5625; RFC 8906).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.svcbbase
import dns.rrset

from byway.dns.message import PAYLOAD, Records
from byway.flow import Target

HEAD = 12  # bytes of a message before its question
SMALL = 512  # bytes of a UDP message without EDNS (RFC 1035, section 2.3.4)
LARGEST = 4096  # bytes of a UDP answer, whatever a client offers (RFC 6891, section 6.2.5)
MADE_TTL = 60  # seconds that an answer of the config's own is good

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = (
    dns.rcode.NOERROR,
    dns.rcode.FORMERR,
    dns.rcode.SERVFAIL,
    dns.rcode.NXDOMAIN,
    dns.rcode.NOTIMP,
    dns.rcode.REFUSED,
)
A, AAAA, PTR, SVCB, HTTPS = (
    dns.rdatatype.A,
    dns.rdatatype.AAAA,
    dns.rdatatype.PTR,
    dns.rdatatype.SVCB,
    dns.rdatatype.HTTPS,
)
_RESPONSE = 0x80
_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR, dns.rdatatype.MAILA, dns.rdatatype.MAILB)
_HINTS = (dns.rdtypes.svcbbase.ParamKey.IPV4HINT, dns.rdtypes.svcbbase.ParamKey.IPV6HINT)
_SIGNED = (dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3)


@dataclass(frozen=True, slots=True)
class Asked:
    """A query with one question, in the class IN. `name` is in lower case, without a final dot."""

    message: dns.message.Message
    name: str
    records: Records

    @property
    def kind(self) -> int:
        """The type of its records."""
        return self.records.kind

    @property
    def has_edns(self) -> bool:
        """Whether it says how large an answer may be."""
        return self.message.edns >= 0


class Unanswered(Exception):  # noqa: N818 - what it is, and no fault of ours
    """There is no question to be answered; `reply` says so, None where silence is right."""

    def __init__(self, reply: bytes | None) -> None:
        super().__init__("no question")
        self.reply = reply


def read(wire: bytes) -> Asked:
    """A client's query. Raises Unanswered."""
    if len(wire) < HEAD or wire[2] & _RESPONSE:
        raise Unanswered(None)
    try:
        message = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError) as error:
        raise Unanswered(_headed(wire, FORMERR)) from error
    if message.opcode() != dns.opcode.QUERY:
        raise Unanswered(_headed(wire, NOTIMP))
    if len(message.question) != 1 or message.answer or message.authority:
        raise Unanswered(_headed(wire, FORMERR))
    if message.edns > 0:
        reply = dns.message.make_response(message, our_payload=PAYLOAD)
        reply.use_edns(0, payload=PAYLOAD)
        reply.set_rcode(dns.rcode.BADVERS)
        raise Unanswered(reply.to_wire())
    (question,) = message.question
    kind = question.rdtype
    if question.rdclass != dns.rdataclass.IN or kind in _TRANSFERS:
        raise Unanswered(_headed(wire, REFUSED))
    if kind == dns.rdatatype.ANY:
        raise Unanswered(made(message, NOERROR, [_any(question.name)]).to_wire())
    if dns.rdatatype.is_metatype(kind):
        raise Unanswered(_headed(wire, NOTIMP))
    name = question.name.to_text(omit_final_dot=True).lower() if len(question.name) > 1 else "."
    secure = bool(message.ednsflags & dns.flags.DO)
    unchecked = bool(message.flags & dns.flags.CD)
    return Asked(message, name, Records(kind, secure, unchecked))


def made(
    query: dns.message.Message, rcode: dns.rcode.Rcode, answer: Iterable[dns.rrset.RRset] = ()
) -> dns.message.Message:
    """An answer of Byway's own."""
    reply = dns.message.make_response(query, recursion_available=True, our_payload=PAYLOAD)
    reply.set_rcode(rcode)
    if query.edns >= 0:
        reply.ednsflags |= query.ednsflags & dns.flags.DO  # RFC 3225, section 3
    reply.answer.extend(answer)
    return reply


def passed(
    query: dns.message.Message, told: dns.message.Message, older: int = 0
) -> dns.message.Message:
    """The answer to a client that a server's answer makes, which is so many seconds old."""
    reply = made(query, told.rcode())
    for here, there in (
        (reply.answer, told.answer),
        (reply.authority, told.authority),
        (reply.additional, told.additional),
    ):
        here.extend(_aged(rrset, older) for rrset in there)
    wants = query.flags & dns.flags.AD or query.ednsflags & dns.flags.DO
    if told.flags & dns.flags.AD and wants:
        reply.flags |= dns.flags.AD
    return reply


def _aged(rrset: dns.rrset.RRset, older: int) -> dns.rrset.RRset:
    if not older:
        return rrset
    left = max(0, rrset.ttl - older)
    return dns.rrset.from_rdata_list(rrset.name, left, list(rrset))


def sized(reply: dns.message.Message, query: dns.message.Message, streamed: bool) -> bytes:
    """As bytes that fit where the client is; what does not fit says so (TC), and nothing else."""
    if streamed:
        return reply.to_wire(max_size=65535)
    room = SMALL if query.edns < 0 else min(max(query.payload, SMALL), LARGEST)
    try:
        return reply.to_wire(max_size=room)
    except dns.exception.TooBig:
        reply.answer.clear()
        reply.authority.clear()
        reply.additional.clear()
        reply.flags |= dns.flags.TC
        return reply.to_wire(max_size=room)


def bare(reply: dns.message.Message) -> bytes:
    """A whole message without EDNS."""
    edns = reply.opt
    reply.use_edns(False)
    try:
        return reply.to_wire(max_size=65535)
    finally:
        reply.opt = edns


def addresses(asked: Asked, found: Sequence[bytes], ttl: int) -> list[dns.rrset.RRset]:
    """Address records of the family asked for; none where there are none."""
    size = (
        {A: 4, AAAA: 16}.get(dns.rdatatype.RdataType(asked.kind)) if asked.kind in (A, AAAA) else 0
    )
    texts = [Target.from_packed(packed, 0).host for packed in found if len(packed) == size]
    if not texts:
        return []
    (question,) = asked.message.question
    return [dns.rrset.from_text_list(question.name, ttl, "IN", question.rdtype, texts)]


def pointer(asked: Asked, name: str, ttl: int) -> list[dns.rrset.RRset]:
    """A PTR record."""
    (question,) = asked.message.question
    return [dns.rrset.from_text(question.name, ttl, "IN", "PTR", f"{name}.")]


def reversed_address(name: str) -> bytes | None:
    """The address that a name of the reverse tree is about (RFC 1035, 3.5; RFC 3596, 2.5)."""
    labels = name.split(".")
    if name.endswith(".in-addr.arpa") and len(labels) == 6:
        parts = labels[3::-1]
        if all(part.isdecimal() and len(part) <= 3 and int(part) < 256 for part in parts):
            return bytes(int(part) for part in parts)
    if name.endswith(".ip6.arpa") and len(labels) == 34:
        digits = "".join(labels[31::-1])
        try:
            return bytes.fromhex(digits)
        except ValueError:
            return None
    return None


def without_hints(told: dns.message.Message) -> dns.message.Message:
    """The same, its service records without addresses (RFC 9460, section 7.3), so that clients ask
    for those. What is changed is not signed any more."""
    for section in (told.answer, told.additional):
        kept = [rrset for rrset in section if rrset.rdtype not in (A, AAAA, *_SIGNED)]
        section[:] = [
            _unhinted(rrset) if rrset.rdtype in (SVCB, HTTPS) else rrset for rrset in kept
        ]
    told.flags &= ~dns.flags.AD
    return told


def _unhinted(rrset: dns.rrset.RRset) -> dns.rrset.RRset:
    changed = dns.rrset.RRset(rrset.name, rrset.rdclass, rrset.rdtype)
    for record in rrset:
        params = {key: value for key, value in record.params.items() if key not in _HINTS}
        mandatory = params.get(dns.rdtypes.svcbbase.ParamKey.MANDATORY)
        if mandatory is not None:
            keys = [key for key in mandatory.keys if key not in _HINTS]
            params[dns.rdtypes.svcbbase.ParamKey.MANDATORY] = type(mandatory)(keys)
            if not keys:
                del params[dns.rdtypes.svcbbase.ParamKey.MANDATORY]
        changed.add(record.replace(params=params), rrset.ttl)
    return changed


def _headed(wire: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A head alone: what the query said, and the code."""
    flags = bytes((_RESPONSE | wire[2] & 0x79, _RESPONSE | wire[3] & 0x10 | int(rcode) & 0x0F))
    return wire[:2] + flags + bytes(8)


def _any(name: dns.name.Name) -> dns.rrset.RRset:
    """The least that answers a question for everything (RFC 8482, section 4.2)."""
    return dns.rrset.from_text(name, 3600, "IN", "HINFO", '"RFC8482" ""')
