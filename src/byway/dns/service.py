"""Answers clients' queries by what `dns` says: rules, hosts, fake addresses, servers.

Comes in: a query as it came, and the flow it came by. Goes out: the message that answers it, None
where silence is right. Nothing in here fails but by a cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import dns.exception
import dns.message
import dns.rcode

from byway.dns import reply
from byway.dns.fake import FakeNames
from byway.dns.given_names import GivenNames
from byway.dns.lookups import ASKER
from byway.dns.policy import CODES, Given
from byway.dns.reply import AAAA, HTTPS, PTR, SVCB, A, Asked, Unanswered
from byway.dns.resolver import Chosen, NameResolver
from byway.errors import Unreachable
from byway.flow import Flow, Target
from byway.rules.matchers import Matcher
from byway.rules.verdicts import NO_FACTS

NOWHERE = ("resolver.arpa", "invalid", "onion", "test")
"""Names that no forwarder asks for: what a resolver would say of itself (RFC 9462, section 6.4),
and what the public DNS has none of (RFC 6761, RFC 7686)."""


@dataclass(frozen=True, slots=True)
class Faking:
    """Which names get fake addresses: all but those `excluded`; None where only rules say so."""

    names: FakeNames
    ttl: int = 1
    everywhere: bool = True
    excluded: Matcher | None = None


class Service:
    """Answers queries. `given` remembers for which names addresses were told to whom."""

    def __init__(
        self,
        named: NameResolver,
        faking: Faking | None,
        given: GivenNames,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._named = named
        self._faking = faking
        self._given = given
        self._changed = changed

    async def answer(self, wire: bytes, flow: Flow, streamed: bool) -> bytes | None:
        """The message that answers a query; None: nothing is answered."""
        try:
            asked = reply.read(wire)
        except Unanswered as none:
            return none.reply
        held = ASKER.set(flow)
        try:
            said = await self._said(asked, flow)
        except Unreachable:
            said = reply.made(asked.message, reply.SERVFAIL)
        finally:
            ASKER.reset(held)
        if said is None:
            return None
        try:
            return reply.sized(said, asked.message, streamed)
        except (dns.exception.DNSException, ValueError):
            return reply.made(asked.message, reply.SERVFAIL).to_wire()

    async def _said(self, asked: Asked, flow: Flow) -> dns.message.Message | None:
        own = self._of_ourselves(asked)
        if own is not None:
            return own
        chosen = self._named.choose(asked.name, asker=flow, kind=asked.kind)
        given = chosen.given
        if given is not None and given.word not in ("real", "fake"):
            return _given(asked, given)
        fakes = self._fakes(asked.name, given, chosen)
        if fakes is not None and asked.kind in (A, AAAA):
            before = fakes.names.changes
            found = fakes.names.addresses(asked.name)
            if fakes.names.changes != before:
                self._changed()
            records = reply.addresses(asked, found, fakes.ttl)
            return reply.made(asked.message, reply.NOERROR, records)
        return await self._forwarded(asked, flow, chosen, fakes is not None)

    async def _forwarded(
        self, asked: Asked, flow: Flow, chosen: Chosen, faked: bool
    ) -> dns.message.Message:
        heard = await self._named.records(asked.name, asked.records, chosen.choice)
        told = heard.answer.message
        if told is None:
            return reply.made(asked.message, reply.SERVFAIL)
        said = reply.passed(asked.message, told)
        if faked and asked.kind in (SVCB, HTTPS):
            reply.without_hints(said)
        if asked.kind in (A, AAAA):
            self._given.note(flow.source, heard.answer.addresses, asked.name, heard.answer.lifetime)
        return said

    def _of_ourselves(self, asked: Asked) -> dns.message.Message | None:
        """What is known without anybody: hosts, names of fake addresses, names that are nowhere."""
        name = asked.name
        listed = self._named.plan.hosts.find(name)
        if listed is not None:
            found = self._named.listed(name)
            if found is not None:
                records = reply.addresses(asked, found, reply.MADE_TTL)
                return reply.made(asked.message, reply.NOERROR, records)
        if asked.kind == PTR and (packed := reply.reversed_address(name)) is not None:
            return self._pointed(asked, packed)
        if any(name == one or name.endswith(f".{one}") for one in NOWHERE):
            code = reply.NOERROR if name.endswith("resolver.arpa") else reply.NXDOMAIN
            return reply.made(asked.message, code)
        return None

    def _pointed(self, asked: Asked, packed: bytes) -> dns.message.Message | None:
        if self._faking is None or not self._faking.names.holds(packed):
            return None
        name = self._faking.names.name(packed)
        if name is None:
            return reply.made(asked.message, reply.NXDOMAIN)
        ttl = self._faking.ttl
        return reply.made(asked.message, reply.NOERROR, reply.pointer(asked, name, ttl))

    def _fakes(self, name: str, given: Given | None, chosen: Chosen) -> Faking | None:
        """Whether a name has a fake address in place of its own."""
        faking = self._faking
        if faking is None or (given is not None and given.word == "real"):
            return None
        if given is not None and given.word == "fake":
            return faking
        if not faking.everywhere or "." not in name or chosen.choice is self._named.plan.host:
            return None
        if faking.excluded is not None:
            flow = _asked_about(name)
            if faking.excluded.match(flow, NO_FACTS) is True:
                return None
        return faking


def _asked_about(name: str) -> Flow:
    from byway.flow import Network

    return Flow(0, Network.TCP, "", None, Target(name, 0))


def _given(asked: Asked, given: Given) -> dns.message.Message | None:
    if given.word is None:
        records = reply.addresses(asked, given.addresses, reply.MADE_TTL)
        return reply.made(asked.message, reply.NOERROR, records)
    if given.word == "drop":
        return None
    return reply.made(asked.message, dns.rcode.Rcode(CODES[given.word]))
