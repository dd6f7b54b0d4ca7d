"""`byway sets`: the rule sets of a running Byway, and `byway sets update`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from byway.cli import live

if TYPE_CHECKING:
    from byway.api.client import Client

View = Mapping[str, object]


def add_verb(verbs: live.Verbs) -> None:
    """Add it to the command line."""
    sets = live.asking(verbs, "sets", "list the rule sets; `sets update` downloads the remote ones")
    sets.add_argument("what", nargs="?", choices=["update"], help="download now")
    sets.add_argument(
        "names", nargs="*", type=live.name, metavar="NAME", help="the sets (default: all)"
    )
    sets.add_argument("--json", action="store_true", help="JSON output")
    sets.set_defaults(verb=_sets)


def set_lines(sets: Sequence[View], now: float) -> Iterator[str]:
    """A table, and below it what is wrong."""
    from byway.cli.tables import age, named
    from byway.ledger.log import escaped

    yield f"{'set':<16} {'entries':>9} {'age':>6} {'next in':>8} {'bad':>5}  from"
    for one in sets:
        web = cast("View | None", one["web"]) or {}
        old, left = _seconds(web.get("checked")), _seconds(web.get("due"))
        since = age(max(now - old, 0)) if old else "-"
        until = age(max(left - now, 0)) if left else "-"
        bad = len(cast("Sequence[str]", one["problems"]))
        via = f" via {web['via']}" if web.get("via", "direct") != "direct" else ""
        source = escaped(f"{one['type']} {one['source']}{via}")
        yield f"{named(one)} {one['entries']:>9} {since:>6} {until:>8} {bad:>5}  {source}"
    for one in sets:
        web = cast("View | None", one["web"]) or {}
        if web.get("why"):
            yield escaped(f"{one['name']}: since {web['since']}: {web['why']}")
        for problem in cast("Sequence[str]", one["problems"]):
            yield escaped(problem)


def _seconds(moment: object) -> float:
    import time
    from calendar import timegm

    return timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")) if isinstance(moment, str) else 0.0


def _sets(options: argparse.Namespace) -> int:
    import json
    import time

    if options.what == "update":
        return live.asked(options, lambda client: _update(client, options), changes=True)

    def ask(client: Client) -> int:
        answer = client.ask("GET", "/sets")
        if options.json:
            print(json.dumps(answer))
        else:
            print("\n".join(set_lines(cast("Sequence[View]", answer["sets"]), time.time())))
        return 0

    return live.asked(options, ask)


def _update(client: Client, options: argparse.Namespace) -> int:
    import json

    from byway.ledger.log import escaped

    answer = client.ask("POST", "/sets/update", {"names": options.names})
    outcomes = cast("Mapping[str, str]", answer["sets"])
    if options.json:
        print(json.dumps(answer))
    else:
        for name, outcome in outcomes.items():
            print(escaped(f"{name}: {outcome}"))
    failed = any(outcome.startswith("failed") for outcome in outcomes.values())
    return 1 if failed else 0
