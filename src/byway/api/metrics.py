"""The status as Prometheus reads it (text exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

View = Mapping[str, object]


def exposition(status: View) -> str:
    """The lines of a status view."""
    return "\n".join([*_lines(status), ""])


def _lines(status: View) -> Iterator[str]:
    flows = cast("Mapping[str, int]", status["flows"])
    memory = cast("Mapping[str, int]", status["memory"])
    yield from _metric("byway_info", "gauge", "The version.", 1, version=status["version"])
    yield from _metric("byway_uptime_seconds", "gauge", "Since the start.", status["uptime"])
    yield from _metric("byway_flows_live", "gauge", "Live flows.", flows["live"])
    yield from _metric("byway_flows_total", "counter", "Flows that ended.", flows["carried"])
    yield from _metric("byway_flows_failed_total", "counter", "Of them, failed.", flows["failed"])
    yield from _metric("byway_up_bytes_total", "counter", "Client to target.", flows["up"])
    yield from _metric("byway_down_bytes_total", "counter", "Target to client.", flows["down"])
    for name, value in memory.items():
        yield from _metric(f"byway_memory_{name}_bytes", "gauge", "Memory.", value)
    for name, value in cast("Mapping[str, int]", status["engine"]).items():
        yield from _metric(f"byway_engine_{name}", "gauge", "Of the engine.", value)
    for name, value in cast("Mapping[str, int]", status["packets"]).items():
        text = "Open packet listeners."
        yield from _metric(f"byway_packets_{name.removeprefix('packets_')}", "gauge", text, value)
    degraded = cast("list[object]", status["degraded"])
    yield from _metric("byway_degraded", "gauge", "Current problems.", len(degraded))
    limited = cast("list[View]", status["limited"])
    for key, name, kind, text in _OF_LIMITS:
        if limited:
            yield f"# HELP byway_limit_{name} {text}"
            yield f"# TYPE byway_limit_{name} {kind}"
        for limit in limited:
            if limit[key] is not None:
                yield f"byway_limit_{name}{_labels(limit=limit['name'])} {limit[key]}"
    yield "# HELP byway_outbound_flows Live flows by outbound."
    yield "# TYPE byway_outbound_flows gauge"
    for outbound in cast("list[View]", status["outbounds"]):
        yield f"byway_outbound_flows{_labels(outbound=outbound['name'])} {outbound['flows']}"
    yield from _of_groups(cast("list[View]", status["groups"]))


def _of_groups(groups: list[View]) -> Iterator[str]:
    """A line for each member of each group, for each thing that is known of it."""
    if not groups:
        return
    texts = {
        "state": "1 if the member works or is new, 0 if it is out or on trial.",
        "taken": "1 for the member that the group would use now.",
        "failures": "Failures in a row.",
        "delay_seconds": "The smoothed delay, if known.",
    }
    for what, text in texts.items():
        yield f"# HELP byway_group_member_{what} {text}"
        yield f"# TYPE byway_group_member_{what} gauge"
        for group in groups:
            for member in cast("list[View]", group["members"]):
                values = {
                    "state": int(member["state"] in ("well", "new")),
                    "taken": int(member["name"] == group["taken"]),
                    "failures": member["failures"],
                    "delay_seconds": member["delay"],
                }
                if values[what] is not None:
                    labels = _labels(group=group["name"], member=member["name"])
                    yield f"byway_group_member_{what}{labels} {values[what]}"


_OF_LIMITS = (
    ("live", "flows", "gauge", "Live flows under a limit."),
    ("flows", "flows_most", "gauge", "How many it allows."),
    ("used", "quota_used_bytes", "gauge", "Used of the quota."),
    ("quota", "quota_bytes", "gauge", "The quota."),
    ("moved_up", "up_bytes_total", "counter", "Client to target."),
    ("moved_down", "down_bytes_total", "counter", "Target to client."),
    ("waits", "waits_total", "counter", "How often a flow had to wait."),
    ("dropped", "dropped_total", "counter", "Packets dropped by the limit."),
    ("refused", "refused_total", "counter", "Flows that were refused."),
)


def _metric(name: str, kind: str, text: str, value: object, **labels: object) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    yield f"{name}{_labels(**labels)} {value}"


def _labels(**labels: object) -> str:
    escaped = (
        (name, str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for name, value in labels.items()
    )
    inside = ",".join(f'{name}="{value}"' for name, value in escaped)
    return f"{{{inside}}}" if inside else ""
