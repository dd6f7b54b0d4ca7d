"""`byway select`: shows the groups of a running Byway, and tells one which member to take."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from byway.cli.live import asked
from byway.cli.tables import group_lines
from byway.errors import BywayError
from byway.ledger.log import escaped

if TYPE_CHECKING:
    from byway.api.client import Client
    from byway.flow import Flow

    View = dict[str, object]


def select(options: argparse.Namespace) -> int:
    """Choose, where a member is named, else show."""
    if options.member is not None:
        return asked(options, lambda client: _choose(client, options), changes=True)
    return asked(options, lambda client: _show(client, options))


def choices_of(client: Client, flow: Flow, outbound: str) -> Mapping[str, View]:
    """The choice of each group of the running Byway for a flow that leaves by this outbound."""
    from byway.api.client import NotRunning, Refusal

    try:
        source = None if flow.source is None else str(flow.source)
        question = {
            "target": str(flow.target), "network": flow.network.value, "source": source,
            "outbound": outbound,
        }  # fmt: skip
        return cast("dict[str, View]", client.ask("POST", "/groups/choices", question)["choices"])
    except (NotRunning, Refusal):
        return {}


def _choose(client: Client, options: argparse.Namespace) -> int:
    question = {"group": options.group, "member": options.member}
    answer = client.ask("POST", "/groups/select", question)
    if options.json:
        print(json.dumps(answer))
    else:
        print(escaped(f"{options.group} now uses {options.member}"))
    if answer["problem"]:
        text = escaped(f"byway: this selection will not survive a restart: {answer['problem']}")
        print(text, file=sys.stderr)
    return 0


def _show(client: Client, options: argparse.Namespace) -> int:
    groups = cast("Sequence[View]", client.ask("GET", "/groups")["groups"])
    if options.group is not None:
        names = [str(group["name"]) for group in groups]
        if options.group not in names:
            from byway.api.groups import nearest_hint

            hint = nearest_hint(options.group, names) if names else "the config has no groups"
            raise BywayError(f"there is no group {options.group!r}", hint)
        groups = [group for group in groups if group["name"] == options.group]
    if options.json:
        print(json.dumps({"groups": groups}))
    else:
        for group in groups:
            print("\n".join(group_lines(group)))
    return 0
