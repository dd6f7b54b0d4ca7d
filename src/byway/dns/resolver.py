"""The resolver of a config's `dns`: hosts, then the cache, then the servers that its rules choose.

A look-up is made once however many ask for it, belongs to a TaskGroup, and goes on when those who
asked have left, until others need its place. What is remembered is in the engine (`EngineAnswers`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial

from byway.dns.families import Order, Reach, arranged
from byway.dns.hosts import Hosts
from byway.dns.lookups import Lookup, Lookups, given_up
from byway.dns.message import Family, Records, Wanted
from byway.dns.policy import Given, Said
from byway.dns.resolution import Resolution
from byway.dns.server import Asked, Heard, SystemServer, first_answer
from byway.dns.start import Start
from byway.engine import EngineAnswers, Families, Outcome
from byway.errors import Reason, Unreachable
from byway.flow import UNHEARD, Flow, Network, Process, Target
from byway.interfaces import Resolver
from byway.rules import Facts, Judge, RuleRef, Via

WAITING = 4096  # look-ups at once, of one family each
EACH = 256  # that one client waits for
KEPT_LEAST = 1.0  # seconds: so that the dial which follows a verdict sees what was judged
KEPT_FAILED = 2.0  # seconds that nobody could tell a name (RFC 9520, section 3.2)
RECHECK = 30.0  # seconds that a stale answer stands when no server could renew it (RFC 8767)
SECOND_FAMILY = 0.05  # seconds to wait for the other family's addresses (RFC 8305, section 3)
MOST_TELLERS = 1024  # names of which is remembered who of several servers told them
LONGEST_LABEL = 63  # RFC 1035, section 2.3.4

_BEFORE_ADDRESSES = Facts(addresses=(), process=Process(), sniffed=UNHEARD)
"""A name is judged before it has addresses: conditions about them do not hold."""

_Known = tuple[int, float, float, tuple[bytes, ...]]
_Lookup = Lookup["Heard | Unreachable"]


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long answers are kept, in seconds: as the servers say, within bounds."""

    least: float = 0.0
    most: float = 86400.0
    negative: float = 300.0  # at most, for what does not exist
    stale: float = 3600.0  # beyond that


@dataclass(frozen=True, slots=True)
class Choice:
    """Servers that are asked together, in their order. `realm` keeps their answers apart; `host` is
    the host's own resolver, where nobody else is to be asked. `searches`: the host's is among them,
    to which an absolute name is another than the same one without its final dot. `fallback` is
    asked where an answer's addresses are not believed, or there is no answer."""

    realm: int
    servers: tuple[Asked, ...]
    fallback: tuple[Asked, ...] = ()
    believes: Callable[[Sequence[bytes]], bool] = lambda found: True
    host: Resolver | None = field(default=None, init=False)
    searches: bool = field(default=False, init=False)

    def asked(self, name: str) -> str:
        """The name as these servers are asked for it, and its answer is kept."""
        return name if self.searches else name.removesuffix(".")

    async def ask(self, name: str, wanted: Wanted) -> Heard:
        """What the servers answer. Raises Unreachable."""
        if not self.fallback:
            return await first_answer(self.servers, name, wanted)
        try:
            heard = await first_answer(self.servers, name, wanted)
        except Unreachable:
            return await first_answer(self.fallback, name, wanted)
        if not heard.answer.addresses or self.believes(heard.answer.addresses):
            return heard
        return await first_answer(self.fallback, name, wanted)

    @property
    def names(self) -> tuple[str, ...]:
        """The servers' names."""
        return tuple(server.name for server in self.servers)

    def __post_init__(self) -> None:
        searches = any(isinstance(server, SystemServer) for server in self.servers)
        object.__setattr__(self, "searches", searches)
        (first, *more) = self.servers
        if isinstance(first, SystemServer) and not more and not self.fallback:
            object.__setattr__(self, "host", first.resolver)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a config says about names. Verdicts of the judge name one of the choices.

    `own`: names that the ways to the servers need themselves, and whom to ask for those. `host`:
    who knows the names around this host (one label, or `.local`), which no rule is about.
    """

    judge: Judge
    choices: Mapping[str, Choice]
    host: Choice
    default: Via
    own: Mapping[str, Choice] = field(default_factory=dict)
    hosts: Hosts = field(default_factory=Hosts)
    order: Order = "auto"
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    said: Mapping[str, Said] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be done about a name: whom to ask, or what is given in place of an answer."""

    choice: Choice
    rule: RuleRef | None = None
    given: Given | None = None


class NameResolver:
    """`interfaces.Resolver` by servers of Byway's own. Used in one event loop.

    `start` gives look-ups to a TaskGroup. The resolver of another plan is made by `following`: it
    has the same answers and look-ups, so those of realms that both have stay.
    """

    def __init__(
        self,
        start: Start,
        answers: EngineAnswers,
        plan: Plan,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._answers = answers
        self._reach = Reach()
        self._lookups: Lookups[Heard | Unreachable] = Lookups(start, WAITING, EACH)
        self._tellers: dict[tuple[int, str], tuple[str, ...]] = {}
        self._moment: float | None = None
        self._plan = plan

    def following(self, plan: Plan) -> NameResolver:
        """The resolver of another plan, which knows what this one knows."""
        other = copy(self)
        other._plan = plan
        other._moment = None
        return other

    async def resolve(self, name: str, use: str = "") -> Sequence[bytes]:
        """The addresses of a name, best first. Raises Unreachable (NAME_UNKNOWN when it has none).

        `use` names the choice that is asked in place of what the rules say. A cancelled wait leaves
        the look-up running, as long as nobody else needs its place.
        """
        name, listed = self._listed(name)
        if listed is not None:
            return self._of_hosts(name, listed)
        chosen = self.choose(name, use)
        choice = chosen.choice
        if chosen.given is not None and (found := self._given(name, chosen.given)) is not None:
            return found
        if choice.host is not None:  # it remembers by itself
            return self._of_hosts(name, tuple(await choice.host.resolve(name)))
        name = choice.asked(name)
        families = self._reach.families(self._plan.order)
        known = self._answers.find(choice.realm, families, name, self._now())
        if known is None:
            return await self._looked_up(choice, families, name)
        outcome, left, _, addresses = known
        if left <= 0:
            self._renew(choice, families, name)
        if not addresses:
            raise _nothing(name, outcome, choice)
        return addresses

    async def inquire(self, name: str, use: str = "") -> Resolution:
        """Resolve, and say how. What goes wrong is in its `error`."""
        begun, told, known = self._clock(), Resolution(name), None
        try:
            told = self.chosen(name, use)
            led = told.led or name
            if told.source == "hosts":
                return replace(told, addresses=tuple(self._of_hosts(led, told.addresses)))
            if told.source == "rule":
                return replace(told, addresses=tuple(await self.resolve(name, use)))
            choice = self.choose(led, use).choice
            led = choice.asked(led)
            families = self._reach.families(self._plan.order)
            known = self._answers.find(choice.realm, families, led, self._now())
            if known is not None:
                told = replace(told, left=known[1])
            told = replace(told, addresses=tuple(await self.resolve(led, use)))
            told = replace(told, servers=self._tellers.get((choice.realm, led), told.servers))
            fresh = known or self._answers.find(choice.realm, families, led, self._now())
            told = replace(told, left=None if fresh is None else fresh[1])
        except Unreachable as error:
            told = replace(told, error=str(error))
        source = "cache" if known is not None else "server"
        return replace(told, source=source, seconds=self._clock() - begun)

    def chosen(self, name: str, use: str = "") -> Resolution:
        """Who would be asked for a name, and by which rule. Asks nobody. Raises Unreachable."""
        led, listed = self._listed(name)
        last = "" if led == name else led
        if listed is not None:
            return Resolution(name, "hosts", listed, led=last)
        chosen = self.choose(led, use)
        given = chosen.given
        if given is not None and given.word not in ("real", "fake"):
            return Resolution(name, "rule", given.addresses, (), chosen.rule, led=last)
        return Resolution(name, "", (), chosen.choice.names, chosen.rule, led=last)

    def listed(self, name: str) -> Sequence[bytes] | None:
        """The addresses of a name that `hosts` tells; None for all others. Asks nobody."""
        try:
            name, found = self._plan.hosts.follow(name)
        except ValueError:
            return ()
        return None if found is None else arranged(found, self._plan.order)

    def _listed(self, name: str) -> tuple[str, tuple[bytes, ...] | None]:
        try:
            return self._plan.hosts.follow(name)
        except ValueError as error:
            raise Unreachable(str(error), name, Reason.NAME_UNKNOWN) from None

    def _of_hosts(self, name: str, listed: tuple[bytes, ...]) -> Sequence[bytes]:
        addresses = arranged(listed, self._plan.order)
        if not addresses:
            why = f"{name} has no address of the family in dns.addresses"
            raise Unreachable(why, name, Reason.NAME_UNKNOWN)
        return addresses

    def choose(self, name: str, use: str = "", asker: Flow | None = None, kind: int = 0) -> Chosen:
        """Whom to ask about a name, or what to answer in place of that. `asker` is who asks for
        records of a type (`kind`); None: Byway itself, for addresses."""
        plan, name = self._plan, name.removesuffix(".")
        if plan.own and (own := plan.own.get(name)) is not None and asker is None:
            return Chosen(own)
        if use and (asked := plan.choices.get(use)) is not None:
            return Chosen(asked)
        verdict = plan.default
        if plan.judge.rules:
            target = Target(name, 0)
            flow = Flow(0, Network.TCP, "", None, target) if asker is None else asker.toward(target)
            said = plan.judge.decide(flow, replace(_BEFORE_ADDRESSES, query=kind))
            if isinstance(said, Via):
                verdict = said
        if verdict is plan.default and ("." not in name or name.endswith(".local")):
            return Chosen(plan.host)
        found = plan.said.get(verdict.outbound)
        if found is None:
            return Chosen(plan.choices[verdict.outbound], verdict.rule)
        return Chosen(plan.choices[found.use], verdict.rule, found.given)

    def _given(self, name: str, given: Given) -> Sequence[bytes] | None:
        """The addresses that a rule gives; None: the servers are asked. Raises Unreachable."""
        if given.word in ("real", "fake"):
            return None
        if given.word is not None:
            why = f"cannot resolve {name}: a rule of dns answers {given.word}"
            raise Unreachable(why, name, Reason.NAME_UNKNOWN)
        return self._of_hosts(name, given.addresses)

    async def records(self, name: str, wanted: Records, choice: Choice) -> Heard:
        """What these servers answer about records of a name. Raises Unreachable."""
        key = (choice.realm, wanted, name)
        lookup = self._lookups.join(key, name, lambda: self._recorded(choice, wanted, name))
        try:
            await asyncio.wait((lookup.task,))
            said = given_up(name) if lookup.task.cancelled() else lookup.task.result()
        finally:
            self._lookups.leave(lookup)
        if isinstance(said, Heard):
            return said
        if said is None:
            raise Unreachable(f"cannot resolve {name}", name)
        raise Unreachable(str(said), said.hop, said.reason)

    async def _recorded(self, choice: Choice, wanted: Records, name: str) -> Heard | Unreachable:
        try:
            return await choice.ask(name, wanted)
        except Unreachable as error:
            return error

    @property
    def plan(self) -> Plan:
        """What it goes by."""
        return self._plan

    def _now(self) -> float:
        """The time, one for each turn of the loop: so the dial that follows a verdict at once sees
        the addresses that were judged."""
        if self._moment is None:
            self._moment = self._clock()
            self._loop.call_soon(self._forget_moment)
        return self._moment

    def _forget_moment(self) -> None:
        self._moment = None

    async def _looked_up(self, choice: Choice, families: Families, name: str) -> Sequence[bytes]:
        """Both families at once; addresses of one wait only a moment for the other's."""
        joined: dict[asyncio.Task[Heard | Unreachable | None], tuple[Family, _Lookup]] = {}
        try:
            return await self._waited(choice, families, name, joined)
        finally:
            for _, lookup in joined.values():
                self._lookups.leave(lookup)

    async def _waited(
        self,
        choice: Choice,
        families: Families,
        name: str,
        joined: dict[asyncio.Task[Heard | Unreachable | None], tuple[Family, _Lookup]],
    ) -> Sequence[bytes]:
        heard: dict[Family, tuple[Outcome, tuple[bytes, ...]]] = {}
        error: Unreachable | None = None
        for family in _each(families):
            known = self._answers.find(choice.realm, family, name, self._now())
            if known is None:
                lookup = self._joined(choice, family, name)
                joined[lookup.task] = family, lookup
            else:
                heard[family] = Outcome(known[0]), known[3]
        running = set(joined)
        while running:
            some = any(addresses for _, addresses in heard.values())
            done, running = await asyncio.wait(
                running,
                timeout=SECOND_FAMILY if some else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not done:
                break
            for task in done:
                family, _ = joined[task]
                said = given_up(name) if task.cancelled() else task.result()
                if isinstance(said, Heard):
                    heard[family] = said.answer.outcome, said.answer.addresses
                else:
                    heard[family], error = (Outcome.FAILED, ()), said or error
        found = [packed for family in _each(families) for packed in heard.get(family, _NONE)[1]]
        if found:
            return found
        outcomes = {outcome for outcome, _ in heard.values()}
        if Outcome.UNKNOWN in outcomes:
            raise _nothing(name, Outcome.UNKNOWN, choice)
        if error is not None:
            raise Unreachable(str(error), error.hop, error.reason)
        raise _nothing(name, max(outcomes, default=Outcome.FAILED), choice)

    def _joined(self, choice: Choice, family: Family, name: str) -> _Lookup:
        if any(len(label) > LONGEST_LABEL for label in name.removesuffix(".").split(".")):
            why = f"{name[:80]} is not a DNS name: a part of it is too long"
            raise Unreachable(why, name, Reason.NAME_UNKNOWN)
        return self._lookups.join(
            (choice.realm, family, name), name, lambda: self._heard(choice, family, name, None)
        )

    def _renew(self, choice: Choice, families: Families, name: str) -> None:
        """Ask anew in the background for what is stale."""
        for family in _each(families):
            known = self._answers.find(choice.realm, family, name, self._now())
            if known is not None and known[1] <= 0:
                work = partial(self._heard, choice, family, name, known)
                self._lookups.renew((choice.realm, family, name), work)

    async def _heard(
        self, choice: Choice, family: Family, name: str, stale: _Known | None
    ) -> Heard | Unreachable:
        """Ask, and remember what is said."""
        begun = self._clock()
        try:
            heard = await choice.ask(name, family)
        except Unreachable as error:
            self._remember_failure(choice, family, name, stale, begun)
            return error
        if len(choice.servers) > 1 or choice.fallback:
            if len(self._tellers) >= MOST_TELLERS:
                self._tellers.clear()
            self._tellers[choice.realm, name] = (heard.server,)
        lifetimes, answer = self._plan.lifetimes, heard.answer
        most = lifetimes.most
        if answer.outcome is not Outcome.FOUND:
            most = min(most, lifetimes.negative)
        fresh = max(min(max(answer.lifetime, lifetimes.least), most), KEPT_LEAST)
        # what was not to be kept at all is not kept beyond its time either
        stay = lifetimes.stale if answer.lifetime > 0 and answer.outcome is Outcome.FOUND else 0
        self._answers.put(
            choice.realm,
            family,
            name,
            answer.outcome,
            answer.addresses,
            self._clock(),
            fresh,
            fresh + stay,
        )
        return heard

    def _remember_failure(
        self, choice: Choice, family: Family, name: str, stale: _Known | None, since: float
    ) -> None:
        """That nobody could tell; but a stale answer stands, for a while without asking anew."""
        outcome, fresh, until, addresses = Outcome.FAILED, KEPT_FAILED, KEPT_FAILED, _NOTHING
        now = self._clock()
        if stale is not None:
            outcome, addresses = Outcome(stale[0]), stale[3]
            until = since + stale[2] - now
            fresh = min(RECHECK, until)
        self._answers.put(choice.realm, family, name, outcome, addresses, now, fresh, until)


_NOTHING: tuple[bytes, ...] = ()
_NONE: tuple[Outcome, tuple[bytes, ...]] = (Outcome.EMPTY, ())


def _each(families: Families) -> tuple[Family, ...]:
    match families:
        case 46:
            return (4, 6)
        case 64:
            return (6, 4)
        case _:
            return (families,)


def _nothing(name: str, outcome: int, choice: Choice) -> Unreachable:
    who = ", ".join(choice.names)
    match outcome:
        case Outcome.UNKNOWN:
            return Unreachable(f"{name} does not exist, says {who}", name, Reason.NAME_UNKNOWN)
        case Outcome.EMPTY:
            return Unreachable(f"{name} has no address, says {who}", name, Reason.NAME_UNKNOWN)
    return Unreachable(f"cannot resolve {name}: {who} failed", name)
