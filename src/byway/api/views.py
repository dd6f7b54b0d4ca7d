"""The state of an App as plain data for JSON."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from byway.api.firewall import firewall_view
from byway.api.groups import group_view
from byway.api.limits import limit_views
from byway.api.names import failing, names_view
from byway.api.rules import off_views, rule_view
from byway.app import App
from byway.ledger import Passage
from byway.ledger.log import way_of

View = dict[str, object]

FRESH = 10.0  # seconds that a sample is good for a rate
LEAST = 0.25  # seconds between two samples


class Rates:
    """Bytes per second of the live flows, by what they moved since the last request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before: dict[int, tuple[int, int]] = {}
        self._taken = -FRESH
        self._rates: dict[int, tuple[float, float]] = {}

    def sample(self, passages: Iterable[Passage]) -> None:
        """Read every counter, unless that was done a moment ago."""
        now = self._clock()
        since = now - self._taken
        if since < LEAST:
            return
        before, fresh = self._before, since <= FRESH
        self._before, self._rates, self._taken = {}, {}, now
        for passage in passages:
            number, up, down = passage.flow.id, passage.up, passage.down
            self._before[number] = (up, down)
            old = before.get(number) if fresh else None
            if old is None:
                old, spent = (0, 0), max(passage.duration, LEAST)
            else:
                spent = since
            self._rates[number] = ((up - old[0]) / spent, (down - old[1]) / spent)

    def of(self, passage: Passage) -> tuple[float, float]:
        """Up and down; nothing for a flow that ended."""
        return self._rates.get(passage.flow.id, (0.0, 0.0))


def flow_view(passage: Passage, rates: Rates) -> View:
    """One flow, live or past."""
    flow, verdict = passage.flow, passage.verdict
    live = passage.stopped is None
    up_rate, down_rate = rates.of(passage) if live else (0.0, 0.0)
    return {
        "id": flow.id,
        "live": live,
        "network": flow.network.value,
        "inbound": flow.inbound,
        "source": "unix" if flow.source is None else str(flow.source),
        "user": flow.user,
        "target": str(flow.target),
        "sniffed": str(passage.facts.sniffed or "") or None,
        "verdict": way_of(verdict),
        "rule": None if verdict is None else rule_view(verdict.rule),
        "chain": list(passage.chain),
        "up": passage.up,
        "down": passage.down,
        "up_rate": round(up_rate),
        "down_rate": round(down_rate),
        "seconds": round(passage.duration, 3),
        "failed": passage.failed,
        "end": passage.reason or None,
    }


@runtime_checkable
class _Described(Protocol):
    """An inbound of which more is to be shown than its addresses."""

    @property
    def facts(self) -> Mapping[str, str]: ...


def _facts_of(inbound: object) -> View:
    return dict(inbound.facts) if isinstance(inbound, _Described) else {}


def status_view(app: App, version: str) -> View:
    """The whole of a running Byway."""
    config, ledger = app.now.config, app.ledger
    limits = config.limits
    live: dict[str, int] = {}
    for passage in ledger.live:
        for hop in passage.chain:
            live[hop] = live.get(hop, 0) + 1
    return {
        "version": version,
        "pid": os.getpid(),
        "uptime": round(time.monotonic() - app.started, 3),
        "config": config.file,
        "reloads": app.reloads,
        "inbounds": [
            {
                "name": name,
                "type": config.inbounds[name].type,
                "addresses": list(addresses),
                "facts": _facts_of(app.now.inbounds[name]),
            }
            for name, addresses in app.addresses.items()
        ],
        "outbounds": [
            {
                "name": name,
                "type": section.type,
                "chain": list(outbound.chain),
                "networks": sorted(network.value for network in outbound.networks),
                "flows": live.get(name, 0),
            }
            for name, section in config.outbounds.items()
            for outbound in (app.now.outbounds[name],)
        ],
        "groups": [group_view(app.now.roster.choosers[name], live) for name in config.groups],
        "names": names_view(app),
        "firewall": firewall_view(app),
        "rules": len(config.rules),
        "switched_off": off_views(app),
        "flows": {
            "live": len(ledger.live),
            "carried": ledger.carried,
            "failed": ledger.failed,
            "up": ledger.up + sum(passage.up for passage in ledger.live),
            "down": ledger.down + sum(passage.down for passage in ledger.live),
        },
        "limits": {
            "flows": ledger.room.total,
            "flows_per_source": app.now.per_source,
            "udp_sessions": limits.udp_sessions,
            "udp_targets": limits.udp_targets,
            "handshake": limits.handshake,
            "dial": limits.dial,
            "sniff": limits.sniff,
            "idle": None if math.isinf(limits.idle) else limits.idle,
            "udp_idle": limits.udp_idle,
            "head": limits.head,
            "drop": limits.drop,
            "drain": limits.drain,
        },
        "limited": limit_views(app.limits),
        "engine": app.engine.stats(),
        "packets": app.engine.packets(),
        "memory": memory_view(app),
        "degraded": degraded(app),
    }


def memory_view(app: App) -> View:
    """Bytes by part: `code` comes from files, `heap` is ours alone (proc(5), statm), and the others
    are parts of that: large sets, remembered names, salts against replays, relays."""
    with open("/proc/self/statm", encoding="ascii") as file:
        resident, shared = (int(word) for word in file.read().split()[1:3])
    page = os.sysconf("SC_PAGE_SIZE")
    return {
        "resident": resident * page,
        "code": shared * page,
        "heap": (resident - shared) * page,
        **app.engine.memory(),
        "names": 0 if app.names.answers is None else app.names.answers.sizes[1],
    }


def degraded(app: App) -> Sequence[View]:
    """Everything that is not as the config requires, with the reason."""
    found: list[View] = []
    if app.log_problem:
        found.append({"what": "log", "why": app.log_problem})
    if app.reload_error:
        found.append({"what": "reload", "why": app.reload_error})
    for group, member, default in app.now.roster.strayed():
        why = f"{member} was selected but is no longer a member; {default} is used"
        found.append({"what": f"group {group}", "why": why})
    found += failing(app)
    if app.choices_problem:
        found.append({"what": "choices", "why": app.choices_problem})
    if app.limits.problem:
        found.append({"what": "limits", "why": f"used quotas: {app.limits.problem}"})
    for problem in app.now.problems:
        hint = f" ({problem.hint})" if problem.hint else ""
        found.append({"what": "config", "why": f"{replace(problem, hint='')}{hint}"})
    if app.keepers.refresher is not None:
        from byway.api.sets import stale

        found += stale(app.keepers.refresher.sets.values())
    return found
