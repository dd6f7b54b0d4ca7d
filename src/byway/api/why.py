"""Why a flow goes where it goes, as plain data: from a config alone, or for a flow that was.

The judge that is asked is the one that decides; nothing here knows better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byway.api.views import View, rule_view
from byway.config import Config
from byway.facts import Finder
from byway.flow import Flow, Target
from byway.ledger import Passage
from byway.log import way_of
from byway.rules import NO_FACTS, Fact, Facts, Judge, Lacks, Verdict, Via
from byway.rules.explain import Check, Explanation

SOURCES: Mapping[Fact, str] = {
    Fact.ADDRESS: "this host's resolver",
    Fact.MOMENT: "this host's clock",
    Fact.PROCESS: "sock_diag and /proc",
}


@dataclass(frozen=True, slots=True)
class Hop:
    """An outbound on the way: where the config has it (line 0: nowhere), and its server."""

    name: str
    kind: str
    server: str | None
    line: int


async def inquire(config: Config, judge: Judge, finder: Finder, flow: Flow) -> View:
    """What would become of a flow. Facts are fetched as the road would fetch them."""
    facts = NO_FACTS
    while isinstance(judge.explain(flow, facts).answer, Lacks):
        lacking = judge.explain(flow, facts).answer
        assert isinstance(lacking, Lacks)
        facts = await finder.find(lacking.fact, flow, facts)
    explanation = judge.explain(flow, facts)
    answer = explanation.answer
    assert not isinstance(answer, Lacks)
    return {
        **_asked(flow),
        **_explained(explanation, flow, facts),
        **_decided(answer),
        "chain": [_hop_view(hop) for hop in hops(config, answer)],
        "file": config.file,
        "note": "",
    }


def recall(config: Config, passage: Passage, judge: Judge) -> View:
    """Why a flow, live or past, went as it went: by the judge and the facts of that time."""
    flow, verdict = passage.flow, passage.verdict
    known = {hop.name: hop for hop in _sections(config)}
    chain = [known.get(name) or Hop(name, "", None, 0) for name in passage.chain]
    note = "" if passage.judge in (judge, None) else "the config was reloaded since"
    explained: View = {"rules": [], "facts": []}
    if passage.judge is not None and verdict is not None:
        explanation = passage.judge.explain(flow, passage.facts)
        explained = _explained(explanation, flow, passage.facts)
    else:
        note = f"it was not judged: {passage.reason}" if passage.reason else "it waits for a fact"
    return {
        **_asked(flow),
        **explained,
        **_decided(verdict),
        "chain": [_hop_view(hop) for hop in chain],
        "file": config.file,
        "note": note,
    }


def hops(config: Config, verdict: Verdict) -> Sequence[Hop]:
    """The outbounds that a verdict leads through, in the order they are travelled."""
    if not isinstance(verdict, Via):
        return ()
    known = {hop.name: hop for hop in _sections(config)}
    found: list[Hop] = []
    name: str | None = verdict.outbound
    while name is not None:
        if not found or known[name].kind != "direct":
            found.insert(0, known[name])
        name = getattr(config.outbounds[name], "via", None)
    return found


def _sections(config: Config) -> Sequence[Hop]:
    return [
        Hop(
            name,
            section.type,
            str(section.server) if hasattr(section, "server") else None,
            config.line("outbounds", name),
        )
        for name, section in config.outbounds.items()
    ]


def _asked(flow: Flow) -> View:
    return {
        "id": flow.id,
        "target": str(flow.target),
        "network": flow.network.value,
        "inbound": flow.inbound,
        "source": "unix" if flow.source is None else str(flow.source),
        "user": flow.user,
        "guarded": flow.guarded,
    }


def _explained(explanation: Explanation, flow: Flow, facts: Facts) -> View:
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
            {"fact": fact.value, "found": found, "from": SOURCES[fact]}
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
        found.append((Fact.PROCESS, facts.process.path or "none that can be seen"))
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
