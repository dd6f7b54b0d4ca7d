"""`byway resolve`: the addresses of names, and their source."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from byway.ledger.log import escaped

if TYPE_CHECKING:
    from byway.cli.which import Running
    from byway.config import Config

View = Mapping[str, object]


def resolve(config: Config, options: argparse.Namespace) -> int:
    """Resolve names as a config says, without a running Byway."""
    return show(asyncio.run(_resolved(config, options.names)), options.json)


def ask_running(found: Running, options: argparse.Namespace) -> Sequence[View]:
    """Have the running Byway resolve them."""
    return [found.client.ask("GET", f"/resolve?name={quote(name)}") for name in options.names]


def show(found: Sequence[View], as_json: bool) -> int:
    """Print the answers; 1 when there is a name without addresses."""
    from byway.cli.why import resolved

    for view in found:
        print(json.dumps(view) if as_json else escaped(resolved(view)))
    return 0 if all(view["addresses"] for view in found) else 1


async def _resolved(config: Config, names: Sequence[str]) -> list[View]:
    from byway.api.resolution import resolution_view
    from byway.app.naming import alone
    from byway.flow import Target

    async with alone(config) as it:
        found: list[View] = []
        for name in names:
            host = Target.of(name, 0)
            found.append(resolution_view(await it.names.inquire(host.full)))
        return found


def names_of(asked: Sequence[str]) -> list[str]:
    """The names that were asked for, as they are carried. Raises ValueError where one is none."""
    from byway.cli.why import ascii_name
    from byway.flow import Target

    found = [Target.of(ascii_name(name), 0) for name in asked]
    for target in found:
        if not target.is_name:
            raise ValueError(f"{target.host} is an address already")
    return [target.full for target in found]
