"""Rule sets in the control interface: their state, and the order to fetch them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence

from byway.api.message import Denied
from byway.app import App
from byway.app.refresh import Following

View = dict[str, object]

UPDATING = 10.0  # seconds that a client waits for sets to be fetched


def set_views(app: App) -> Sequence[View]:
    """The sets that rules ask for, and how those from the web stand."""
    followed = {} if app.keepers.refresher is None else app.keepers.refresher.sets
    found: list[View] = []
    for name, rules in app.now.sets.items():
        texts = [str(problem) for problem in app.now.problems if problem.key == f"sets.{name}"]
        one = followed.get(name)
        found.append(
            {
                "name": name,
                "type": app.now.config.sets[name].type,
                "source": rules.source,
                "entries": len(rules.contents),
                "complete": rules.contents.complete,
                "problems": texts if one is None else [str(problem) for problem in one.problems],
                "web": None if one is None else _web_view(one),
            }
        )
    return found


def stale(followed: Iterable[Following]) -> Sequence[View]:
    """The sets from the web that are not as the config wants them, and why."""
    return [
        {"what": f"set {one.name}", "why": f"{_how(one)} since {_moment(one.since)}: {one.why}"}
        for one in followed
        if one.why
    ]


def renewed_since(app: App, started: float) -> str:
    """A note for an explanation of a flow of that time (time.monotonic) by the sets of today."""
    followed = () if app.keepers.refresher is None else app.keepers.refresher.sets.values()
    names = [one.name for one in followed if one.renewed > started]
    return f"the set is up to date again: {', '.join(names)}" if names else ""


async def updated(app: App, question: object) -> View:
    """Fetch the sets that are named, or all; what came of it. Raises Denied.

    What is not done in time goes on.
    """
    refresher = app.keepers.refresher
    known = {} if refresher is None else refresher.sets
    names = question.get("names", []) if isinstance(question, dict) else []
    if not isinstance(names, list):
        raise Denied(400, "names is a list of sets")
    for name in names:
        if not isinstance(name, str) or name not in known:
            hint = f"from the web: {', '.join(known) or 'none'}"
            raise Denied(404, f"no set {str(name)[:80]!r} is from the web", hint)
    if refresher is None or not known:
        raise Denied(404, "no set is from the web", "sets: {name: {url: https://...}}")
    updating = {name: refresher.update(name) for name in names or known}
    await asyncio.wait(updating.values(), timeout=UPDATING)
    return {
        name: outcome.result() if outcome.done() else "still being fetched"
        for name, outcome in updating.items()
    }


def _web_view(one: Following) -> View:
    return {
        "via": one.section.via,
        "checked": _moment(one.checked),
        "due": _moment(one.due),
        "failures": one.failures,
        "since": _moment(one.since),
        "why": one.why or None,
    }


def _how(one: Following) -> str:
    return "not up to date" if one.rules.contents.complete else "empty"


def _moment(seconds: float) -> str | None:
    """A time as RFC 3339 has it; None for never."""
    return None if not seconds else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
