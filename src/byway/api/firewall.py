"""The state of the firewall of a running Byway, as plain data."""

from __future__ import annotations

from byway.api.rules import rule_view
from byway.app import App
from byway.config import Config
from byway.flow import Flow
from byway.rules import Judge, Verdict

View = dict[str, object]

MOST_RULES = 1000  # that are listed
_OBEYED = {
    "direct": "the flow leaves at once and never comes to Byway",
    "reject": "the firewall refuses it",
    "drop": "the firewall drops it",
}


def firewall_view(app: App) -> View | None:
    """Whether it is strict, the rules that it obeys by itself (counted, and the first of them
    listed), and the first rule that it cannot; None where nothing is set up."""
    walls = app.firewall.now
    if walls is None:
        return None
    stopped = walls.head.stopped
    return {
        "strict": walls.strict is not None,
        "count": len(walls.head.handed),
        "rules": [
            {"rule": rule_view(one.rule), "verdict": one.verdict}
            for one in walls.head.handed[:MOST_RULES]
        ],
        "judged_here": None if stopped is None else rule_view(stopped),
    }


def obeyed(config: Config, judge: Judge, flow: Flow, verdict: Verdict) -> str:
    """What is to be said of a flow that the firewall decides by itself; empty for all others."""
    names = [name for name, section in config.inbounds.items() if section.marks and section.diverts]
    if flow.inbound not in names or flow.target.is_name:
        return ""
    from byway.app.walls import head_for  # of use where a firewall is set up

    for one in head_for(config, judge, names).handed:
        if one.rule is verdict.rule and one.verdict in _OBEYED:
            return f"this rule is compiled into the firewall: {_OBEYED[one.verdict]}"
    return ""
