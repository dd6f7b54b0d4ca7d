"""Groups as plain data: what they know of their members, and which one a flow would take."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from byway.api.message import Denied
from byway.config import nearest
from byway.errors import FAULTS
from byway.flow import Flow, Network, Rank, State, Step, Target
from byway.interfaces import Outbound
from byway.outbounds.chooser import Chooser, Select

View = dict[str, object]

ANYONE = Flow(0, Network.TCP, "", None, Target("", 0))
"""A flow without properties, for questions about a group."""


def group_view(chooser: Chooser, flows: Mapping[str, int]) -> View:
    """One group: its members with their scores, and the one that it would take now, and why."""
    now = chooser.clock()
    step = taken(chooser, ANYONE)
    return {
        "name": chooser.name,
        "type": chooser.kind,
        "taken": step.member or None,
        "why": step.why,
        "used": None if chooser.used is None else round(now - chooser.used, 3),
        "flows": flows.get(chooser.name, 0),
        "members": [rank_view(rank, now) for rank in chooser.ranking(Network.TCP)],
    }


def step_view(step: Step, now: float) -> View:
    """One step of a group, taken or foreseen, as plain data."""
    return {
        "group": step.group,
        "member": step.member,
        "why": step.why,
        "failed": step.failed,
        "members": [rank_view(rank, now) for rank in step.ranking],
    }


def rank_view(rank: Rank, now: float) -> View:
    """A member with its score. Times are seconds; `back` from now on."""
    delay = None if rank.dial is None else rank.dial + (rank.answer or 0.0)
    return {
        "name": rank.member,
        "state": "new" if not rank.is_known else rank.state.name.lower(),
        "delay": None if delay is None else round(delay, 4),
        "dial": None if rank.dial is None else round(rank.dial, 4),
        "failures": rank.failures,
        "back": round(max(rank.back - now, 0.0), 1) if rank.state is State.OUT else 0.0,
        "error": rank.why if rank.failures else "",
    }


def taken(chooser: Chooser, flow: Flow) -> Step:
    """The step that a group would take for a flow; without a member where none can carry it."""
    ranking = chooser.ranking(flow.network)
    for member, why in chooser.turns(flow, peek=True):
        return Step(chooser.name, member, why, ranking=ranking)
    why = f"no member supports {flow.network.value.upper()}"
    return Step(chooser.name, "", why, failed=True, ranking=ranking)


def choices(
    choosers: Mapping[str, Chooser], flow: Flow, outbound: Outbound | None = None
) -> dict[str, View]:
    """The choice of each group for a flow. Those on its way by this outbound are asked as its ways
    are: a group under `via` chooses for the server that it leads to."""
    steps = {name: taken(chooser, flow) for name, chooser in choosers.items()}
    if outbound is not None:
        steps |= {step.group: step for step in foreseen(outbound, flow)}
    return {name: step_view(step, choosers[name].clock()) for name, step in steps.items()}


def foreseen(outbound: Outbound, flow: Flow) -> Sequence[Step]:
    """The steps to the first way that a flow would try. Nothing is opened, and nothing remembered;
    where a group has no member for it, they end before that."""
    steps: list[Step] = []
    with contextlib.suppress(*FAULTS):
        next(iter(outbound.ways(flow, steps, peek=True)))
    return [step for step in steps if not step.failed]


def asked_flow(question: object) -> Flow:
    """The flow that a question describes. Raises Denied."""
    asked = question if isinstance(question, dict) else {}
    try:
        network = Network(asked.get("network", "tcp"))
        source = asked.get("source")
        came = None if source in (None, "unix") else Target.parse(str(source))
        return Flow(0, network, "", came, Target.parse(str(asked.get("target"))))
    except ValueError as error:
        raise Denied(
            400, f"not a flow: {error}", "target, network and source are required"
        ) from error


def asked_choice(choosers: Mapping[str, Chooser], question: object) -> tuple[str, str]:
    """The chosen group and member. Raises Denied."""
    asked = question if isinstance(question, dict) else {}
    group, member = asked.get("group"), asked.get("member")
    if not isinstance(group, str) or not isinstance(member, str):
        raise Denied(400, "a group and a member are required")
    chooser = choosers.get(group)
    if chooser is None:
        raise Denied(404, f"there is no group {group!r}", nearest_hint(group, list(choosers)))
    if not isinstance(chooser, Select):
        selects = [name for name, one in choosers.items() if isinstance(one, Select)]
        hint = f"of type select: {', '.join(selects)}" if selects else "only type: select"
        raise Denied(
            409, f"the group {group} is of type {chooser.kind}: it selects by itself", hint
        )
    if member not in chooser.members:
        hint = nearest_hint(member, chooser.members)
        raise Denied(404, f"the group {group} has no member {member!r}", hint)
    return group, member


def nearest_hint(word: str, known: Sequence[str]) -> str:
    """The known word that may have been meant, and the known ones."""
    near = nearest(word, known)
    listed = f"known here: {', '.join(known)}"
    return f"did you mean {near}? {listed}" if near else listed
