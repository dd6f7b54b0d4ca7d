"""Why a flow goes where it goes, as plain data: from a config alone, or for a flow that was.

The judge that is asked is the one that decides; nothing here knows better.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from byway.api.firewall import obeyed
from byway.api.groups import choices, step_view
from byway.api.limits import offered_to
from byway.api.resolution import resolution_view, words
from byway.api.rules import View, rule_view
from byway.app.naming import Naming
from byway.app.ways import Ways
from byway.config import Config
from byway.config.limited import terms_of
from byway.dns.resolution import Resolution
from byway.errors import Refused, Unreachable
from byway.facts.finder import Finder
from byway.flow import Flow, Target
from byway.ledger import Passage
from byway.ledger.log import way_of
from byway.rules import NO_FACTS, Fact, Facts, Judge, Lacks, Verdict, Via
from byway.rules.explain import Check, Explanation

SOURCES: Mapping[Fact, str] = {
    Fact.ADDRESS: "the resolver",
    Fact.MOMENT: "this host's clock",
    Fact.PROCESS: "sock_diag and /proc",
    Fact.MAC: "the neighbour table",
    Fact.SNIFFED: "its first bytes",
    Fact.ANSWER: "rules in Python",
}
UNSAID = "a rule needs the first bytes: set them with --sniffed-protocol and --sniffed-name"


@dataclass(frozen=True, slots=True)
class Hop:
    """An outbound on the way: where the config has it (line 0: nowhere), and its server."""

    name: str
    kind: str
    server: str | None
    line: int
    dns: tuple[str, ...] = ()


Choices = Callable[[str], Mapping[str, View]]
"""The choice of each group of a running Byway for a flow that leaves by this outbound; empty where
none runs."""


async def inquire(
    ways: Ways,
    judge: Judge,
    finder: Finder,
    flow: Flow,
    live: Choices = lambda _: {},
    given: Facts = NO_FACTS,
    names: Naming | None = None,
) -> View:
    """The verdict and way of a flow that has not happened. Facts that are not given are fetched as
    the road would fetch them; `live` is asked where the flow would leave by a group. Raises OSError
    for an invalid file that an outbound of such a group needs."""
    config = ways.config
    flow, gone = _named(finder, flow)
    facts, resolved = finder.begin(flow, given), None
    whole, flow = flow, flow.judged
    if names is not None and facts.open and whole.known is None:
        resolved = await names.inquire(flow.target.host)  # of hosts: no query
    while isinstance(judge.explain(flow, facts).answer, Lacks):
        lacking = judge.explain(flow, facts).answer
        assert isinstance(lacking, Lacks)
        if names is not None and lacking.fact is Fact.ADDRESS and flow.target.is_name:
            resolved = await names.inquire(flow.target.full)  # the finder gets the same then
        facts = await finder.find(lacking, flow, facts)
    explanation = judge.explain(flow, facts)
    answer = explanation.answer
    assert not isinstance(answer, Lacks)
    chosen, note = _choices(ways, answer, flow, live)
    way = [] if not isinstance(answer, Via) else way_of_names(config, answer.outbound, chosen)
    unsaid = UNSAID if facts.sniffed is not None and given.sniffed is None else ""
    return {
        **_asked(whole),
        **_explained(explanation, facts, given, resolved),
        **_decided(answer),
        "chain": [_hop_view(hop) for hop in _hops(config, way)],
        "groups": [chosen[name] for name in way if name in chosen],
        "name": _name(flow, _hops(config, way), names, resolved),
        "limits": offered_to(terms_of(config), flow, answer, way),
        "end": "",
        "file": config.file,
        "note": "; ".join(filter(None, (gone, unsaid, note, obeyed(config, judge, flow, answer)))),
    }


def _named(finder: Finder, flow: Flow) -> tuple[Flow, str]:
    """The flow with the name of its target, and why it would be refused before any rule."""
    try:
        return (flow if finder.names is None else finder.names.of(flow)), ""
    except Refused as refused:
        return flow, f"refused before any rule: {refused}"


def recall(config: Config, passage: Passage, judge: Judge, names: Naming | None = None) -> View:
    """Why a flow, live or past, went as it went: by the judge and the facts of that time."""
    flow, verdict = passage.flow, passage.verdict
    now = time.monotonic()
    note = _since(passage.judge, judge)
    explained: View = {"rules": [], "facts": []}
    if passage.judge is not None and verdict is not None:
        explanation = passage.judge.explain(flow.judged, passage.facts)
        explained = _explained(explanation, passage.facts)
    elif verdict is not None:
        note = f"the rules have changed since; this one decided: {verdict.rule}"
    else:
        note = f"it was not judged: {passage.reason}" if passage.reason else "it waits for a fact"
    return {
        **_asked(flow),
        **explained,
        **_decided(verdict),
        "chain": [_hop_view(hop) for hop in _hops(config, passage.chain)],
        "limits": offered_to(terms_of(config), flow, verdict, passage.chain),
        "end": passage.reason,
        "groups": [step_view(step, now) for step in passage.steps],
        "name": _name(flow, _hops(config, passage.chain), names, None),
        "file": config.file,
        "note": note,
    }


def way_of_names(config: Config, name: str, chosen: Mapping[str, View]) -> list[str]:
    """The chain of a way, with its groups and what each of them would take."""
    if name in config.groups:
        member = str(chosen[name]["member"])
        return [name, *(way_of_names(config, member, chosen) if member else [])]
    via = getattr(config.outbounds[name], "via", None)
    before = [] if via is None else way_of_names(config, via, chosen)
    return [*(before if before != ["direct"] else []), name]


def _choices(
    ways: Ways, verdict: Verdict, flow: Flow, live: Choices
) -> tuple[Mapping[str, View], str]:
    """The choice of each group on the way, and a note where its members' state is unknown."""
    groups = ways.config.groups
    if not groups or not isinstance(verdict, Via):
        return {}, ""
    outbound = ways.outbound(verdict.outbound)
    chosen = choices(ways.roster.choosers, flow, outbound)
    if not any(name in groups for name in way_of_names(ways.config, verdict.outbound, chosen)):
        return {}, ""
    known = {
        name: step
        for name, step in live(verdict.outbound).items()
        if name in chosen and step["member"] in (*groups[name].members, "")
    }
    if not known:
        return chosen, "no running Byway uses these groups: the state of their members is unknown"
    return chosen | known, ""


def _hops(config: Config, names: Sequence[str]) -> Sequence[Hop]:
    known = {hop.name: hop for hop in _sections(config)}
    return [known.get(name) or Hop(name, "", None, 0) for name in names]


def _sections(config: Config) -> Sequence[Hop]:
    outbounds = [
        Hop(
            name,
            section.type,
            str(section.server) if hasattr(section, "server") else None,
            config.line("outbounds", name),
            getattr(section, "dns", None) or (),
        )
        for name, section in config.outbounds.items()
    ]
    groups = [
        Hop(name, section.type, None, config.line("groups", name))
        for name, section in config.groups.items()
    ]
    return [*outbounds, *groups]


def _since(then: Judge | None, now: Judge) -> str:
    """The difference of the rules."""
    if then is None or then is now:
        return ""
    both = zip(then.rules, now.rules, strict=False)
    if len(then.rules) == len(now.rules) and all(a.verdict is b.verdict for a, b in both):
        return "rules were disabled or enabled since"
    return "the config was reloaded since"


def _asked(flow: Flow) -> View:
    return {
        "id": flow.id,
        "target": str(flow.target),
        "known": None if flow.known is None else str(flow.known),
        "network": flow.network.value,
        "inbound": flow.inbound,
        "source": "unix" if flow.source is None else str(flow.source),
        "user": flow.user,
        "guarded": flow.guarded,
    }


def _name(
    flow: Flow, chain: Sequence[Hop], names: Naming | None, found: Resolution | None
) -> View | None:
    """How the target's name is resolved, where that happens here. Sends no query."""
    here = flow.target.is_name and chain and chain[-1].kind == "direct"
    use = chain[-1].dns if here else ()
    if (found is None or use) and here and names is not None:
        try:
            found = names.chosen(flow.target.full, use)
        except Unreachable as error:
            found = Resolution(flow.target.full, error=str(error))
    return None if found is None else resolution_view(found)


def _explained(
    explanation: Explanation,
    facts: Facts,
    given: Facts = NO_FACTS,
    resolved: Resolution | None = None,
) -> View:
    asked = {fact for fact, _ in _facts(given)}
    sources = SOURCES if resolved is None else {**SOURCES, Fact.ADDRESS: words(resolved)}
    return {
        "rules": [
            {
                "rule": rule_view(tried.rule),
                "outcome": tried.outcome.value,
                "way": way_of(tried.verdict),
                "checks": [_check_view(check) for check in tried.checks],
            }
            for tried in explanation.tried
        ],
        "facts": [
            {
                "fact": fact.value,
                "found": found,
                "from": "the question" if fact in asked else sources[fact],
            }
            for fact, found in _facts(facts)
        ],
    }


def _facts(facts: Facts) -> Sequence[tuple[Fact, str]]:
    found: list[tuple[Fact, str]] = []
    if facts.addresses is not None:
        addresses = [Target.from_packed(packed, 0).host for packed in facts.addresses]
        found.append((Fact.ADDRESS, ", ".join(addresses) or "none"))
    if facts.moment is not None:
        found.append((Fact.MOMENT, f"{facts.moment:%a %H:%M}".lower()))
    if facts.process is not None:
        known = facts.process.path or facts.process.name
        found.append((Fact.PROCESS, known or "none visible"))
    if facts.mac is not None:
        found.append((Fact.MAC, facts.mac or "none known"))
    if facts.sniffed is not None:
        found.append((Fact.SNIFFED, str(facts.sniffed) or "nothing known"))
    for function, said in facts.answers:
        text = f"failed: {said.note}" if said.note else f"says {said.way or 'nothing'}"
        found.append((Fact.ANSWER, f"{function.name} {text}"))
    return found


def _decided(verdict: Verdict | None) -> View:
    rule = None if verdict is None else rule_view(verdict.rule)
    return {"verdict": way_of(verdict), "rule": rule}


def _check_view(check: Check) -> View:
    return {
        "condition": check.condition,
        "asked": check.asked,
        "wanted": check.wanted,
        "answer": check.answer if isinstance(check.answer, bool) else None,
        "lacks": check.answer.value if isinstance(check.answer, Fact) else None,
        "found": check.found,
        "parts": [_check_view(part) for part in check.parts],
    }


def _hop_view(hop: Hop) -> View:
    return {"name": hop.name, "type": hop.kind, "server": hop.server, "line": hop.line}
