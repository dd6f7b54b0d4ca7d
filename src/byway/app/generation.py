"""All that comes of one config, as one frozen value, and how the next one is built.

Nothing in here opens or ends anything that runs: a generation that is not put in force costs
nothing, and leaves all as it was. The `App` exchanges one for the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from byway.app import naming
from byway.app.naming import Resolving
from byway.app.switches import Switched, stayed_off
from byway.app.ways import Ways, same_way
from byway.config import Config, changes, judge_of, open_sets, pac_file
from byway.config.listening import refused
from byway.engine import Engine, ListenOptions, PacketOptions, Turnstile
from byway.errors import Problem
from byway.facts.finder import Finder
from byway.facts.flow_names import Named, Naming
from byway.flow import Target
from byway.inbounds.entry import Means
from byway.inbounds.silence import Silence
from byway.interfaces import Bounds, Inbound, InForce
from byway.ledger import Course, Ledger
from byway.ledger.deadline import Deadline
from byway.ledger.log import Log, Logged, Writing
from byway.outbounds.loops import Listening, Loops
from byway.outbounds.roster import Roster
from byway.rules import Judge
from byway.rules.sets import RuleSet
from byway.system.files import open_to_append
from byway.system.lines import LineWriter
from byway.system.open_files import flows_for, open_files

if TYPE_CHECKING:
    from byway.system.plugin import Plugin

P = ParamSpec("P")
T = TypeVar("T")

STDERR = 2


@dataclass(frozen=True, kw_only=True, repr=False)
class Generation(Bounds, Logged, Course, Switched, Listening, Resolving, Naming):
    """The generation in force, or the next one. The stations declare the parts that they read.

    `number` counts from 1; 0 is what there is before the first: nothing. `inbounds` are open, once
    it is in force; `door` makes one of them anew, not yet open (OSError for a bad file). `plugins`
    are the programs that it needs, `dialling` those among them that start with a first dial.
    `news` are the lines that tell a person what is different about it; `unwritten` are those of the
    log that wait for a writer.
    """

    config: Config
    number: int
    inbounds: Mapping[str, Inbound] = field(default_factory=dict)
    door: Callable[[str], Inbound]
    roster: Roster
    sets: Mapping[str, RuleSet] = field(default_factory=dict)
    problems: Sequence[Problem] = ()
    writer: LineWriter | None = None
    unwritten: Sequence[str] = ()
    plugins: Sequence[Plugin] = ()
    dialling_plugins: Sequence[Plugin] = ()
    news: Sequence[str] = ()

    @property
    def addresses(self) -> Mapping[str, Sequence[str]]:
        """Where each inbound listens, with real ports."""
        return {name: inbound.addresses for name, inbound in self.inbounds.items()}


@dataclass(frozen=True, slots=True)
class Lasting:
    """The parts that outlive every generation, and read the one in force."""

    in_force: InForce[Generation]
    engine: Engine
    log: Log
    names: naming.Naming
    ledger: Ledger
    finder: Finder
    loops: Loops
    silence: Silence
    turnstile: Turnstile
    number: Callable[[], int]


def nothing(config: Config) -> Generation:
    """The empty generation before the first, that of `config`. Its lines wait for a writer."""

    def door(name: str) -> Inbound:
        raise KeyError(name)

    log, judge, lines = config.log, Judge(), list[str]()
    return Generation(
        config=Config(),
        number=0,
        door=door,
        roster=Roster(),
        unwritten=lines,
        writing=Writing(lines.append, log.level, log.format, log.flows),
        judge=judge,
        whole=judge,
        outbounds={},
        dialling=Deadline(config.limits.dial, DIALLING),
        hits={},
        **vars(_bounds(config)),
    )


async def build(config: Config, lasting: Lasting, running: Mapping[str, RuleSet]) -> Generation:
    """What comes of a config, with all that goes on as it is out of the generation in force, and
    the sets that are `running`. Raises OSError for a file that is not what it should be."""
    before, limits = lasting.in_force.now, config.limits
    # Slow work is done in a thread while flows go on, and at once before there are any.
    aside = _in_thread if before.number else _at_once
    sets = await aside(open_sets, config, None, running)
    whole = await aside(judge_of, config, sets.sets)  # seconds, of many rules
    off, stayed = stayed_off(before, whole)
    judge = await aside(whole.without, off) if off else whole
    news = (*(await aside(changes, before.config, config)), *stayed) if before.number else ()
    kept = {
        name: way for name, way in before.outbounds.items() if same_way(name, before.config, config)
    }
    ways = Ways(
        config,
        lasting.engine,
        lasting.names,
        lasting.log,
        kept,
        before.roster,
        lasting.loops,
        lasting.names,
    )
    outbounds = ways.outbounds()
    names = lasting.names.built(config, outbounds, sets.sets)
    writer = before.writer
    if writer is None or before.config.log.file is not None or config.log.file is not None:
        writer = _writer(config)  # also for the same file: it may have been moved away
    return Generation(
        config=config,
        number=before.number + 1,
        door=_doors(config, ways, lasting),
        roster=ways.roster,
        sets=sets.sets,
        problems=(*config.warnings, *sets.problems),
        writer=writer,
        plugins=ways.plugins,
        dialling_plugins=ways.dialling,
        news=news,
        writing=Writing(writer.write, config.log.level, config.log.format, config.log.flows),
        judge=judge,
        whole=whole,
        off=off,
        outbounds=outbounds,
        dialling=Deadline(limits.dial, DIALLING),
        hits={},
        names=names,
        mark=config.mark,
        named=Named(answers=config.names.answers, sniffed=config.names.sniffed),
        **vars(_bounds(config)),
    )


def _doors(config: Config, ways: Ways, lasting: Lasting) -> Callable[[str], Inbound]:
    """Makes the ways in of a config."""
    limits = config.limits

    def pac(inbound: str, at: Target) -> str:
        now = lasting.in_force.now
        return pac_file(now.config, inbound, at, now.off)

    means = Means(
        lasting.engine,
        lasting.log,
        lasting.number,
        limits.handshake,
        limits.idle,
        limits.head,
        PacketOptions(limits.udp_idle, limits.udp_sessions, limits.udp_targets),
        pac,
        lasting.ledger.room,
        lasting.silence,
        lasting.names.answer_by,
    )
    # One turnstile for all of them: the limit on open files is one, too.
    options = ListenOptions(first=limits.handshake, turnstile=lasting.turnstile)

    def door(name: str) -> Inbound:
        try:
            return ways.inbound(name, means, options)
        except OSError as error:
            raise refused(config, "inbounds", name, error) from error

    return door


def _bounds(config: Config) -> Bounds:
    limits = config.limits
    flows = limits.flows or flows_for(open_files())
    return Bounds(
        flows=flows,
        per_source=min(limits.flows_per_source, max(1, flows * 3 // 4)),  # never all the places
        held=max(16, flows // 8),  # the other places are for those that are not dropped
        drop=limits.drop,
        sniff=limits.sniff,
    )


def _writer(config: Config) -> LineWriter:
    if config.log.file is None:
        return LineWriter(STDERR)
    try:
        return LineWriter(open_to_append(config.log.file), owned=True)
    except OSError as error:
        raise refused(config, "log", "file", error) from error


async def _in_thread(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    return await asyncio.to_thread(work, *given, **named)


async def _at_once(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    return work(*given, **named)


DIALLING = "dialling took too long (limits.dial)"
