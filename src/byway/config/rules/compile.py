"""From the rules a person wrote to the judge that obeys them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from byway.config.model import Config
from byway.config.names.dns import EXCLUDED, Dns, DnsFallback, DnsRule, FakeIp
from byway.config.rules.conditions import Conditions, RuleEntry, SniffedConditions
from byway.config.rules.sets import open_sets
from byway.dns.policy import Said
from byway.rules import Drop, Judge, Reject, Rule, RuleRef, Verdict, Via
from byway.rules import matchers as m
from byway.rules.devices import SourceMac
from byway.rules.geo import FromCountry, FromSystem, InCountry, InSystem, World
from byway.rules.moments import During
from byway.rules.names import Keyword, QueryType, Regex, Wildcard
from byway.rules.programs import (
    ProcessCommand,
    ProcessGroup,
    ProcessName,
    ProcessPath,
    ProcessPathRegex,
    ProcessUser,
)
from byway.rules.sets import FromSet, InSet, RuleSet
from byway.rules.sniffed import SniffedName, SniffedProtocol
from byway.values.name_server import without_path


def judge_of(config: Config, sets: Mapping[str, RuleSet] | None = None) -> Judge:
    """The judge for a checked config; the sets are read here when they are not handed in."""
    known = Known(open_sets(config).sets if sets is None else sets, config.world)
    rules = [
        Rule(
            _condition(entry, known),
            _verdict(entry),
            entry.enabled,
            None if entry.python is None else config.functions[entry.python],
        )
        for entry in config.rules
    ]
    return Judge([*_hijack(config), *rules])


def _hijack(config: Config) -> Sequence[Rule]:
    """What goes to port 53 is answered here, before any rule."""
    if config.dns is None or not config.dns.hijack:
        return ()
    ref = RuleRef(config.file, config.line("dns", "hijack"), "dns.hijack: true")
    return (Rule(m.Port(((53, 53),)), Via("dns", ref)),)


def names_judge_of(config: Config, dns: Dns, sets: Mapping[str, RuleSet]) -> tuple[Judge, Via]:
    """The judge of names, whose verdicts are ways by servers to ask (`server_key`), and what it
    says of names that no rule is about."""
    known = Known(sets, config.world)
    rules = []
    for rule in dns.rules:
        condition = _condition(rule.asked, known)
        if rule.query_type is not None:
            condition = m.All((condition, QueryType(frozenset(rule.query_type))))
        rules.append(Rule(condition, Via(rule_key(rule, dns), rule.ref)))
    said = f"use: {', '.join(map(without_path, dns.use))}"
    ref = RuleRef(config.file, config.line("dns", "use"), said)
    default = Via(server_key(dns.use), ref)
    return Judge(rules, default), default


def names_said(dns: Dns) -> Mapping[str, Said]:
    """What the verdicts of rules mean that give an answer."""
    return {
        rule_key(rule, dns): Said(server_key(rule.use or dns.use), rule.answer)
        for rule in dns.rules
        if rule.answer is not None
    }


def rule_key(rule: DnsRule, dns: Dns) -> str:
    """The word for what a rule about names says."""
    key = server_key(rule.use or dns.use)
    return key if rule.answer is None else f"{key} answer={rule.answer}"


def believing_of(config: Config, fallback: DnsFallback) -> Callable[[Sequence[bytes]], bool]:
    """Whether addresses that the servers of `dns.use` answer are believed."""
    bogus, countries = m.PrefixSet(fallback.bogus), config.world.countries
    codes = frozenset(fallback.country or ())

    def believes(found: Sequence[bytes]) -> bool:
        if any(bogus.holds(packed) for packed in found):
            return False
        if not codes or countries is None:
            return True
        return any(countries.country(packed) in codes for packed in found)

    return believes


def faking_of(config: Config, fake: FakeIp, sets: Mapping[str, RuleSet]) -> m.Matcher:
    """Which names keep their real addresses."""
    words = (*fake.exclude, *(EXCLUDED if fake.defaults else ()))
    named = [word for word in words if word.startswith("set:")]
    wild = [word for word in words if word not in named and ("*" in word or "?" in word)]
    exact = frozenset(word for word in words if word not in named and word not in wild)
    found: list[m.Matcher] = [m.Domain(exact)]
    if wild:
        found.append(Wildcard(tuple(wild)))
    if named:
        chosen = tuple(sets[word.removeprefix("set:")] for word in named)
        found.append(m.Unresolved(InSet(chosen)))
    return m.AnyOf(tuple(found))


def server_key(use: Sequence[str]) -> str:
    """The word for several servers that are asked together."""
    return " ".join(use)


@dataclass(frozen=True, slots=True)
class Known:
    """The things that conditions refer to."""

    sets: Mapping[str, RuleSet]
    world: World


def _verdict(entry: RuleEntry) -> Verdict:
    match entry.way:
        case "reject" | "":
            return Reject(entry.ref)
        case "drop":
            return Drop(entry.ref)
        case outbound:
            return Via(outbound, entry.ref)


def _condition(asked: Conditions, known: Known, resolves: bool = True) -> m.Matcher:
    """The conditions, cheapest first; those that may need a fact come last."""
    found: list[m.Matcher] = []
    resolves = resolves if asked.resolve is None else asked.resolve
    if asked.network is not None:
        found.append(m.OnNetwork(asked.network))
    if asked.inbound is not None:
        found.append(m.FromInbound(frozenset(asked.inbound)))
    if asked.user is not None:
        found.append(m.OfUser(frozenset(asked.user)))
    if asked.port is not None:
        found.append(m.Port(asked.port))
    if asked.source_port is not None:
        found.append(m.SourcePort(asked.source_port))
    found += _about_names(asked)
    if asked.source is not None:
        found.append(m.Source(m.PrefixSet(asked.source)))
    if asked.source_country is not None and known.world.countries is not None:
        found.append(FromCountry(frozenset(asked.source_country), known.world.countries))
    if asked.source_asn is not None and known.world.systems is not None:
        found.append(FromSystem(frozenset(asked.source_asn), known.world.systems))
    if asked.source_mac is not None:
        found.append(SourceMac(frozenset(asked.source_mac)))
    if asked.source_set is not None:
        found.append(FromSet(InSet(tuple(known.sets[name] for name in asked.source_set))))
    if asked.and_ is not None:
        found.append(m.All(tuple(_condition(part, known, resolves) for part in asked.and_)))
    if asked.or_ is not None:
        found.append(m.AnyOf(tuple(_condition(part, known, resolves) for part in asked.or_)))
    if asked.not_ is not None:
        found.append(m.Not(_condition(asked.not_, known, resolves)))
    if asked.set is not None:
        in_set = InSet(tuple(known.sets[name] for name in asked.set))
        found.append(in_set if resolves else m.Unresolved(in_set))
    if asked.time is not None:
        found.append(During(asked.time))
    found += _about_processes(asked)
    found += _about_addresses(asked, known.world, resolves)
    if asked.sniffed is not None:
        found += _about_first_bytes(asked.sniffed, known.sets)
    return found[0] if len(found) == 1 else m.All(tuple(found))


def _about_names(asked: Conditions | SniffedConditions) -> Iterator[m.Matcher]:
    if asked.domain is not None:
        yield m.Domain(frozenset(asked.domain))
    if asked.domain_suffix is not None:
        yield m.DomainSuffix(frozenset(asked.domain_suffix))
    if asked.domain_keyword is not None:
        yield Keyword(asked.domain_keyword)
    if asked.domain_wildcard is not None:
        yield Wildcard(asked.domain_wildcard)
    if asked.domain_regex is not None:
        yield Regex(asked.domain_regex)


def _about_first_bytes(
    asked: SniffedConditions, sets: Mapping[str, RuleSet]
) -> Iterator[m.Matcher]:
    if asked.protocol is not None:
        yield SniffedProtocol(frozenset(asked.protocol))
    for names in _about_names(asked):
        yield SniffedName(names)
    if asked.set is not None:
        yield SniffedName(InSet(tuple(sets[name] for name in asked.set)))


def _about_processes(asked: Conditions) -> Iterator[m.Matcher]:
    if asked.process is not None:
        yield ProcessName(frozenset(name.lower() for name in asked.process))
    if asked.process_path is not None:
        yield ProcessPath(tuple(path.lower() for path in asked.process_path))
    if asked.process_path_regex is not None:
        yield ProcessPathRegex(asked.process_path_regex)
    if asked.process_command is not None:
        yield ProcessCommand(asked.process_command)
    if asked.uid is not None:
        yield ProcessUser(frozenset(asked.uid))
    if asked.cgroup is not None:
        yield ProcessGroup(asked.cgroup)


def _about_addresses(asked: Conditions, world: World, resolves: bool) -> Iterator[m.Matcher]:
    if asked.ip_version is not None:
        yield m.Version(asked.ip_version, resolves)
    if asked.private is not None:
        private = m.Address(m.PRIVATE, resolves)
        yield private if asked.private else m.Not(private)
    if asked.ip is not None:
        yield m.Address(m.PrefixSet(asked.ip), resolves)
    if asked.country is not None and world.countries is not None:
        yield InCountry(frozenset(asked.country), world.countries, resolves)
    if asked.asn is not None and world.systems is not None:
        yield InSystem(frozenset(asked.asn), world.systems, resolves)
