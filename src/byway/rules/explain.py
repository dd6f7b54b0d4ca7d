"""Why the judge says what it says: each rule tried in order, with each of its conditions.

Nothing here decides: answers are the matchers' own, and the order is the judge's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from byway.flow import Flow, Target
from byway.rules import geo
from byway.rules import matchers as m
from byway.rules.devices import SourceMac
from byway.rules.moments import During
from byway.rules.names import Keyword, Labels, Regex, Wildcard
from byway.rules.programs import (
    ProcessCommand,
    ProcessGroup,
    ProcessName,
    ProcessPath,
    ProcessPathRegex,
    ProcessUser,
)
from byway.rules.sets import FromSet, InSet, RuleSet
from byway.rules.sniffed import SniffedName, SniffedProtocol, as_target
from byway.rules.tables import Rule
from byway.rules.verdicts import Drop, Fact, Facts, Function, Lacks, Reject, RuleRef, Verdict, Via


class Outcome(Enum):
    """How the trial of a rule ended."""

    MATCHED = "matched"
    NO_MATCH = "no match"
    LACKS = "lacks a fact"
    OFF = "disabled"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition and how it came out.

    `condition` is its word in the config, `asked` what was looked at (`www.example.com`, or why
    there was nothing), `wanted` what it asks for, in short, and `found` the part of that which
    matched (`example.com`; `ads, ads.txt:17: example.com`), empty when none did. `parts` are the
    conditions inside `and`, `or` and `not`.
    """

    condition: str
    asked: str
    wanted: str
    answer: bool | Fact
    found: str = ""
    parts: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """One rule that was tried, or passed over because it is disabled."""

    rule: RuleRef
    outcome: Outcome
    checks: tuple[Check, ...]
    verdict: Verdict | None  # of a rule in Python that did not match there is none


@dataclass(frozen=True, slots=True)
class Explanation:
    """The rules as far as they were reached; the last one tried gave the answer.

    `answer` is what `decide` says of the same flow and facts. With `Lacks`, fetch the fact and ask
    for another explanation: its `tried` begins anew from the first rule.
    """

    tried: tuple[Tried, ...]
    answer: Verdict | Lacks


def explanation(rules: Sequence[Rule], otherwise: Verdict, flow: Flow, facts: Facts) -> Explanation:
    """Each rule in order, to the first that matches or lacks a fact; then `otherwise`."""
    tried: list[Tried] = []
    by_name = flow.target.packed is None
    for rule in rules:
        if not rule.enabled:
            tried.append(Tried(rule.verdict.rule, Outcome.OFF, (), rule.verdict))
            continue
        one, said = _tried(rule, flow, facts)
        tried.append(one)
        if by_name and facts.addresses is not None and not facts.open:
            unasked = replace(facts, addresses=None)
            facts = replace(facts, open=rule.consult(flow, unasked) is Fact.ADDRESS)
        if said is not None:
            return Explanation(tuple(tried), said)
    tried.append(Tried(otherwise.rule, Outcome.MATCHED, (), otherwise))
    return Explanation(tuple(tried), otherwise)


def _tried(rule: Rule, flow: Flow, facts: Facts) -> tuple[Tried, Verdict | Lacks | None]:
    """The trial of one rule, and what it ended with; None: the next rule is to be tried."""
    checks, function = checks_of(rule.condition, flow, facts), rule.function
    answer = rule.consult(flow, facts)
    if function is not None and not any(check.answer is not True for check in checks):
        checks = (*checks, function_check(function, facts))
    said: Verdict | Lacks | None
    match answer:
        case bool():
            said = rule.verdict if answer else None
        case Fact():
            said = Lacks(answer)
        case _:
            said = answer
    verdict = said if isinstance(said, Via | Reject | Drop) else None
    outcome = Outcome.NO_MATCH if said is None else Outcome.MATCHED
    if isinstance(said, Lacks):
        outcome = Outcome.LACKS
    shown = verdict if function is not None else rule.verdict
    return Tried(rule.verdict.rule, outcome, checks, shown), said


def checks_of(matcher: m.Matcher, flow: Flow, facts: Facts) -> tuple[Check, ...]:
    """The conditions of a rule, one by one, all of them looked at."""
    if isinstance(matcher, m.All):
        return tuple(check(part, flow, facts) for part in matcher.of)
    return (check(matcher, flow, facts),)


def function_check(function: Function, facts: Facts) -> Check:
    """The answer of a rule's function, where its condition holds."""
    lacking = next((need for need in function.needs if not facts.knows(need)), None)
    said = facts.said(function)
    if lacking is not None or said is None:
        return Check("python", f"what {function.name} says", "a way", lacking or Fact.ANSWER)
    answer = said.way or said.note or "nothing"
    wanted = f"a way ({function.name})"
    return Check("python", answer, wanted, said.way is not None, said.way or "")


def check(matcher: m.Matcher, flow: Flow, facts: Facts) -> Check:
    """One condition with its answer."""
    answer = matcher.match(flow, facts)
    match matcher:
        case m.All(of) | m.AnyOf(of):
            parts = tuple(check(part, flow, facts) for part in of)
            return Check("and" if isinstance(matcher, m.All) else "or", "", "", answer, "", parts)
        case m.Not(of):
            return Check("not", "", "", answer, "", (check(of, flow, facts),))
        case m.Unresolved(of):
            return replace(check(of, flow, matcher.seen(facts)), answer=answer)
        case SniffedName(of):
            return _named(of, flow, facts, answer)
        case FromSet(of):
            return _came_from(of, flow, facts, answer)
    condition, asked, wanted = _told(matcher, flow, facts)
    found = _found(matcher, flow, facts) if answer is True else ""
    return Check(condition, asked, wanted, answer, found)


def _named(of: m.Matcher, flow: Flow, facts: Facts, answer: m.Answer) -> Check:
    """A condition on the name that was sniffed: shown as one on the target's would be."""
    seen, rest = as_target(flow, facts)
    inner = check(of, seen, rest)
    asked = _heard(facts, "name") if not isinstance(of, InSet) or not seen.target.host else ""
    return replace(
        inner, condition=f"sniffed {inner.condition}", answer=answer, asked=asked or inner.asked
    )


def _came_from(of: InSet, flow: Flow, facts: Facts, answer: m.Answer) -> Check:
    if flow.source is None:
        sets = _listed([one.name for one in of.sets])
        return Check("source_set", "a unix socket, which has no address,", sets, answer)
    inner = check(of, flow.toward(flow.source), facts)
    return replace(inner, condition="source_set", asked=flow.source.host)


def _told(matcher: m.Matcher, flow: Flow, facts: Facts) -> tuple[str, str, str]:
    """The word of a condition, what it looks at, and what it wants."""
    name = "" if flow.target.packed is not None else flow.target.host
    name = name or "an address without a name"
    source = "a unix socket, which has no address," if flow.source is None else None
    match matcher:
        case m.Domain(names):
            return "domain", name, _listed(sorted(names))
        case m.DomainSuffix(names):
            return "domain_suffix", name, _listed(sorted(names))
        case Keyword(words):
            return "domain_keyword", name, _listed(words)
        case Wildcard():
            return "domain_wildcard", name, _listed(matcher.patterns)
        case Labels():
            return "domain", name, str(matcher)
        case Regex():
            return "domain_regex", name, _listed(matcher.patterns)
        case m.Address(prefixes) if prefixes is m.PRIVATE:
            return "private", _addresses(matcher, flow, facts), "true"
        case m.Address(prefixes):
            return "ip", _addresses(matcher, flow, facts), _listed(prefixes.prefixes)
        case geo.InCountry(codes):
            return "country", _located(matcher, flow, facts), _listed(sorted(codes))
        case geo.InSystem(numbers):
            return "asn", _located(matcher, flow, facts), _listed(sorted(numbers))
        case geo.FromCountry(codes):
            asked = source or _seen_at(matcher.world.country, flow.source)
            return "source_country", asked, _listed(sorted(codes))
        case geo.FromSystem(numbers):
            asked = source or _seen_at(matcher.world.system, flow.source)
            return "source_asn", asked, _listed(sorted(numbers))
        case m.Version(size):
            return "ip_version", _addresses(matcher, flow, facts), "4" if size == 4 else "6"
        case m.Source(prefixes):
            asked = source or str(flow.source and flow.source.host)
            return "source", asked, _listed(prefixes.prefixes)
        case SourceMac(macs):
            asked = "the device" if facts.mac is None else facts.mac or "a device unknown to links"
            return "source_mac", asked, _listed(sorted(macs))
        case m.SourcePort(ranges):
            return "source_port", source or str(flow.source and flow.source.port), _ranges(ranges)
        case m.Port(ranges):
            return "port", str(flow.target.port), _ranges(ranges)
        case m.OnNetwork(networks):
            return "network", flow.network.value, _listed([one.value for one in networks])
        case m.FromInbound(names):
            return "inbound", flow.inbound, _listed(sorted(names))
        case m.OfUser(names):
            return "user", flow.user or "nobody", _listed(sorted(names))
        case During(spans):
            moment = facts.moment
            now = "the time" if moment is None else f"{moment:%a %H:%M}".lower()
            return "time", now, _listed([span.text for span in spans])
        case ProcessName(names):
            return "process", _seen(facts, "name"), _listed(sorted(names))
        case ProcessPath(paths):
            return "process_path", _seen(facts, "path"), _listed(paths)
        case ProcessPathRegex():
            return "process_path_regex", _seen(facts, "path"), _listed(matcher.patterns)
        case ProcessCommand(texts):
            return "process_command", _seen(facts, "command"), _listed(texts)
        case ProcessUser(uids):
            return "uid", _seen(facts, "uid"), _listed(sorted(uids))
        case ProcessGroup(groups):
            return "cgroup", _seen(facts, "cgroup"), _listed(groups)
        case InSet(sets):
            return "set", str(flow.target), _listed([one.name for one in sets])
        case SniffedProtocol(names):
            return "sniffed protocol", _heard(facts, "protocol"), _listed(sorted(names))
    return type(matcher).__name__, str(flow.target), ""


def _found(matcher: m.Matcher, flow: Flow, facts: Facts) -> str:
    """The part of a condition that matched."""
    host = flow.target.host
    match matcher:
        case m.DomainSuffix(names):
            while host not in names:
                host = host.partition(".")[2]
            return host
        case Keyword(words):
            return next(word for word in words if word in host)
        case Wildcard() | Regex():
            return matcher.found(host)
        case m.Address(prefixes):
            return _which(prefixes, _packed(flow, facts))
        case m.Source(prefixes):
            assert flow.source is not None
            return _which(prefixes, (flow.source.packed,))
        case m.Port(ranges):
            return _ranges([one for one in ranges if one[0] <= flow.target.port <= one[1]][:1])
        case InSet(sets):
            return next(found for one in sets if (found := _entry(one, flow, facts)))
    return _told(matcher, flow, facts)[1]


def _entry(one: RuleSet, flow: Flow, facts: Facts) -> str:
    place = one.contents.place(flow, facts)
    if place is None:
        return ""
    line = f":{place.line}" if place.line else ""
    return f"{one.name}, {one.source}{line}: {place.text}"


def _heard(facts: Facts, what: str) -> str:
    if facts.sniffed is None:
        return "what the first bytes say"
    return getattr(facts.sniffed, what) or f"an unknown {what}"


def _seen(facts: Facts, what: str) -> str:
    if facts.process is None:
        return "the process"
    found = getattr(facts.process, what)
    return "a process that cannot be seen" if found in ("", None) else str(found)


def _packed(flow: Flow, facts: Facts) -> Sequence[bytes | None]:
    return (flow.target.packed,) if flow.target.packed is not None else facts.addresses or ()


def _addresses(matcher: _AboutAddresses, flow: Flow, facts: Facts) -> str:
    if flow.target.packed is not None:
        return flow.target.host
    if not matcher.resolves and not facts.open:
        return f"{flow.target.host}, which no earlier rule has resolved,"
    if facts.addresses is None:
        return f"the address of {flow.target.host}"
    found = [Target.from_packed(packed, 0).host for packed in facts.addresses]
    return ", ".join(found) or f"{flow.target.host}, which has no address,"


def _located(matcher: geo.InCountry | geo.InSystem, flow: Flow, facts: Facts) -> str:
    """The addresses that were looked at, each with where it is."""
    found = m.addresses(flow, facts, matcher.resolves)
    if isinstance(found, Fact) or not found:
        return _addresses(matcher, flow, facts)
    look: Callable[[bytes], object]
    match matcher:
        case geo.InCountry():
            look = matcher.world.country
        case geo.InSystem():
            look = matcher.world.system
    return _listed([_seen_at(look, Target.from_packed(packed, 0)) for packed in found])


def _seen_at(look: Callable[[bytes], object], address: Target | None) -> str:
    if address is None or address.packed is None:
        return "no address"
    return f"{address.host} ({look(address.packed) or 'nowhere known'})"


def _which(prefixes: m.PrefixSet, addresses: Sequence[bytes | None]) -> str:
    found = (prefixes.find(packed) for packed in addresses if packed is not None)
    return str(next(prefix for prefix in found if prefix is not None))


def _ranges(ranges: Sequence[tuple[int, int]]) -> str:
    return _listed([str(a) if a == b else f"{a}-{b}" for a, b in ranges])


def _listed(items: Sequence[object], limit: int = 3) -> str:
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more


_AboutAddresses = m.Address | m.Version | geo.InCountry | geo.InSystem
