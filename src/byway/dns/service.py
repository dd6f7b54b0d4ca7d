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
from byway.dns.resolver import Chosen, Lifetimes, NameResolver
from byway.dns.scopes import scope_of
from byway.dns.start import Start
from byway.engine import EngineMessages, Outcome
from byway.errors import Unreachable
from byway.flow import Flow, Target
from byway.rules.matchers import Matcher
from byway.rules.verdicts import NO_FACTS

MADE_KEPT = 10.0  # seconds: then a fake address is seen to be in use
MOST_RENEWED = 256  # stale answers at once
ANY = Target("0.0.0.0", 0, bytes(4))  # noqa: S104 - whoever has no address

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


@dataclass(frozen=True, slots=True)
class Shared:
    """Answers that are kept. `by_client`: rules look at clients' addresses, so that each has its
    own. `servers` are the inbounds all of whose queries come here; None: those of all inbounds."""

    messages: EngineMessages
    by_client: bool = False
    servers: frozenset[str] | None = frozenset()

    def scope(self, flow: Flow) -> int:
        """Whose answers a flow's client gets. Those of an inbound are found before anybody is
        asked, so nothing that was not sent to Byway may be among them."""
        known = self.servers is None or flow.inbound in self.servers
        return scope_of(flow.inbound, None if known and not self.by_client else flow.source or ANY)


@dataclass(frozen=True, slots=True)
class _Told:
    """An answer, and for how many seconds it is kept: fresh, and stale."""

    message: dns.message.Message
    fresh: float = 0.0
    stale: float = 0.0
    aging: bool = False


class Service:
    """Answers queries. `given` remembers for which names addresses were told to whom, `start` runs
    what renews stale answers."""

    def __init__(
        self,
        named: NameResolver,
        faking: Faking | None,
        given: GivenNames,
        shared: Shared,
        lifetimes: Lifetimes,
        start: Start,
        changed: Callable[[], None] = lambda: None,
        in_force: Callable[[], Service | None] | None = None,
    ) -> None:
        self._in_force = in_force
        self._named = named
        self._faking = faking
        self._given = given
        self._shared = shared
        self._lifetimes = lifetimes
        self._start = start
        self._changed = changed
        self._renewing: set[tuple[int, bytes]] = set()

    async def answer(self, wire: bytes, flow: Flow, streamed: bool) -> bytes | None:
        """The message that answers a query; None: nothing is answered."""
        scope = self._shared.scope(flow)
        known = self._shared.messages.answer(scope, wire, streamed)
        if known is not None:
            found, stale = known
            if stale:
                self._renew(scope, wire, flow)
            return found
        return await self._asked(scope, wire, flow, streamed)

    def _renew(self, scope: int, wire: bytes, flow: Flow) -> None:
        """Ask anew for what is stale, once at a time."""
        key = (scope, wire[2:])
        if key not in self._renewing and len(self._renewing) < MOST_RENEWED:
            self._renewing.add(key)
            self._start(self._renewed(key, scope, wire, flow))

    async def _renewed(self, key: tuple[int, bytes], scope: int, wire: bytes, flow: Flow) -> None:
        try:
            await self._asked(scope, wire, flow, True)
        finally:
            self._renewing.discard(key)

    async def _asked(self, scope: int, wire: bytes, flow: Flow, streamed: bool) -> bytes | None:
        try:
            asked = reply.read(wire)
        except Unanswered as none:
            return none.reply
        held = ASKER.set(flow)
        try:
            told = await self._told(asked, flow)
        except Unreachable:
            told = _Told(reply.made(asked.message, reply.SERVFAIL))
        finally:
            ASKER.reset(held)
        if told is None:
            return None
        try:
            if self._kept(scope, wire, told):
                known = self._shared.messages.answer(scope, wire, streamed)
                if known is not None:
                    return known[0]
            return reply.sized(told.message, asked.message, streamed)
        except (dns.exception.DNSException, ValueError):
            return reply.made(asked.message, reply.SERVFAIL).to_wire()

    def _kept(self, scope: int, wire: bytes, told: _Told) -> bool:
        """Remember an answer, if it is to be."""
        if told.stale <= 0 or (self._in_force is not None and self._in_force() is not self):
            return False  # what rules said before a reload is not kept after it
        bare = reply.bare(told.message)
        return self._shared.messages.put(scope, wire, bare, told.fresh, told.stale, told.aging)

    async def _told(self, asked: Asked, flow: Flow) -> _Told | None:
        own = self._of_ourselves(asked)
        if own is not None:
            return _Told(own, MADE_KEPT, MADE_KEPT)
        chosen = self._named.choose(asked.name, asker=flow, kind=asked.kind)
        given = chosen.given
        if given is not None and given.word not in ("real", "fake"):
            made = _given(asked, given)
            return None if made is None else _Told(made, MADE_KEPT, MADE_KEPT)
        fakes = self._fakes(asked.name, given, chosen)
        if fakes is not None and asked.kind in (A, AAAA):
            before = fakes.names.changes
            found = fakes.names.addresses(asked.name)
            if fakes.names.changes != before:
                self._changed()
            records = reply.addresses(asked, found, fakes.ttl)
            return _Told(reply.made(asked.message, reply.NOERROR, records), MADE_KEPT, MADE_KEPT)
        return await self._forwarded(asked, flow, chosen, fakes is not None)

    async def _forwarded(self, asked: Asked, flow: Flow, chosen: Chosen, faked: bool) -> _Told:
        heard = await self._named.records(asked.name, asked.records, chosen.choice)
        answer, lifetimes = heard.answer, self._lifetimes
        if answer.message is None:
            return _Told(reply.made(asked.message, reply.SERVFAIL))
        said = reply.passed(asked.message, answer.message)
        if faked and asked.kind in (SVCB, HTTPS):
            reply.without_hints(said)
        if asked.kind in (A, AAAA):
            self._given.note(flow.source, answer.addresses, asked.name, answer.lifetime)
        found = answer.outcome is Outcome.FOUND
        most = lifetimes.most if found else min(lifetimes.most, lifetimes.negative)
        fresh = min(max(answer.lifetime, lifetimes.least), most)
        stay = lifetimes.stale if found and fresh > 0 else 0.0
        return _Told(said, fresh, fresh + stay, True)

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
