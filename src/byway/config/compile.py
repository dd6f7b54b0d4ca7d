"""From the rules a person wrote to the judge that obeys them."""

from __future__ import annotations

from byway.config.model import Config, RuleEntry
from byway.rules import Drop, Judge, Reject, Rule, Verdict, Via
from byway.rules import matchers as m


def judge_of(config: Config) -> Judge:
    """The judge for a checked config."""
    return Judge([Rule(_condition(entry), _verdict(entry)) for entry in config.rules])


def _verdict(entry: RuleEntry) -> Verdict:
    match entry.way:
        case "reject":
            return Reject(entry.ref)
        case "drop":
            return Drop(entry.ref)
        case outbound:
            return Via(outbound, entry.ref)


def _condition(entry: RuleEntry) -> m.Matcher:
    """The conditions, cheapest first; the one that may need a fact comes last."""
    found: list[m.Matcher] = []
    if entry.network is not None:
        found.append(m.OnNetwork(entry.network))
    if entry.inbound is not None:
        found.append(m.FromInbound(frozenset(entry.inbound)))
    if entry.user is not None:
        found.append(m.OfUser(frozenset(entry.user)))
    if entry.port is not None:
        found.append(m.Port(entry.port))
    if entry.domain is not None:
        found.append(m.Domain(frozenset(entry.domain)))
    if entry.domain_suffix is not None:
        found.append(m.DomainSuffix(frozenset(entry.domain_suffix)))
    if entry.source is not None:
        found.append(m.Source(m.PrefixSet(entry.source)))
    if entry.ip is not None:
        found.append(m.Address(m.PrefixSet(entry.ip)))
    return found[0] if len(found) == 1 else m.All(tuple(found))
