"""`byway rules`: the rules of a running Byway, how often each decided; off and on by hand."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from byway.cli.live import asked
from byway.cli.tables import age
from byway.errors import BywayError
from byway.ledger.log import escaped

if TYPE_CHECKING:
    from byway.api.client import Client
    from byway.config import Config

    View = Mapping[str, object]

MOST = 10_000  # of one answer


def rules(options: argparse.Namespace) -> int:
    """Show them, or switch one."""
    if options.what is None:
        return asked(options, lambda client: _show(client, options))
    return asked(options, lambda client: _switch(client, options), changes=True)


def off_by_hand(status: View, config: Config) -> frozenset[int]:
    """Which rules of a config (from 0) the Byway that runs it has off, by its status."""
    texts = [entry.ref.text for entry in config.rules]
    off = {
        cast(int, one["number"]) - 1: cast("View", one["rule"])["text"]
        for one in cast("Sequence[View]", status["switched_off"])
    }
    return frozenset(at for at, text in off.items() if at < len(texts) and texts[at] == text)


def _show(client: Client, options: argparse.Namespace) -> int:
    answer = client.ask("GET", "/rules", None, limit=options.limit)
    if options.json:
        print(json.dumps(answer))
    else:
        print("\n".join(_lines(answer)))
    return 0


def _lines(answer: View) -> Iterator[str]:
    found = cast("Sequence[View]", answer["rules"])
    yield f"{'':>5} {'hits':>9}  {'':<20}"
    for one in found:
        rule = cast("View", one["rule"])
        place = f"{str(rule['file']).rpartition('/')[2]}:{rule['line']}"
        text = escaped(f"{one['number']:>5} {one['hits']:>9}  {place:<20} {rule['text']}")
        yield text if one["state"] == "on" else f"{text}  [{_state(one)}]"
    more = cast(int, answer["total"]) - len(found)
    if more:
        yield f"and {more} more; use --limit to show more"


def _state(one: View) -> str:
    left = one["left"]
    return str(one["state"]) if left is None else f"{one['state']} for {age(cast(float, left))}"


def _switch(client: Client, options: argparse.Namespace) -> int:
    from byway.values.texts import seconds

    if options.which is None:
        raise BywayError("which rule? byway rules off NUMBER, or :LINE", "byway rules lists them")
    question: dict[str, object] = {"on": options.what == "on"}
    if options.span is not None:
        if options.what == "on":
            raise BywayError("--for requires off")
        try:
            question["seconds"] = seconds(options.span)
        except ValueError:
            raise BywayError(f"{options.span!r} is not a duration", "30s, 10m, 2h, 1d") from None
    number, text = _found(client, options.which)
    answer = client.ask("POST", f"/rules/{number}", {**question, "text": text})
    if options.json:
        print(json.dumps(answer))
    else:
        print(escaped(f"rule {number} is {_state(answer)}: {text}"))
    return 0


def _found(client: Client, which: str) -> tuple[int, str]:
    """The number and text of a rule by its number, or by its line (`:7`, `byway.yaml:7`)."""
    found = cast("Sequence[View]", client.ask("GET", "/rules", None, limit=MOST)["rules"])
    named = re.fullmatch(r"(.*):([0-9]{1,9})", which)
    for one in found:
        rule = cast("View", one["rule"])
        if named is None:
            if which == str(one["number"]):
                return cast(int, one["number"]), str(rule["text"])
        elif rule["line"] == int(named[2]) and str(rule["file"]).endswith(named[1]):
            return cast(int, one["number"]), str(rule["text"])
    raise BywayError(f"there is no rule {which!r}", "byway rules lists them by number and line")
