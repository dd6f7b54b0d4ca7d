"""The verbs that ask a running Byway: thin clients of its control interface."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from byway.cli.which import needed, tell
from byway.errors import BywayError

if TYPE_CHECKING:
    from byway.api.client import Client
    from byway.cli.parser import Parser

    Verbs = argparse._SubParsersAction[Parser]

RELOADING = 300.0  # seconds; a hundred thousand rules take half a minute on a busy machine
SORTS = ("id", "rate", "bytes", "up", "down", "age")


def add_verbs(verbs: Verbs) -> None:
    """Add them to the command line."""
    status = asking(verbs, "status", "show the state of a running Byway")
    _json_option(status)
    status.set_defaults(verb=_status)

    flows = asking(verbs, "flows", "list live flows; `flows cut ID` ends one")
    flows.add_argument("what", nargs="?", choices=["cut"], help="cut flows by id")
    flows.add_argument("ids", nargs="*", type=int, metavar="ID", help="the ids")
    flows.add_argument("-w", "--watch", action="store_true", help="refresh continuously; q quits")
    flows.add_argument("--sort", choices=SORTS, help="sort, largest first (id: newest first)")
    flows.add_argument("--past", type=int, metavar="N", help="how many ended flows to show")
    flows.add_argument("--limit", type=int, default=100, metavar="N", help="the maximum to show")
    flows.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="with --watch")
    _json_option(flows)
    flows.set_defaults(verb=_flows)

    reload = asking(verbs, "reload", "reload the config of a running Byway")
    _json_option(reload)
    reload.set_defaults(verb=_reload)

    log = asking(verbs, "log", "print the last log lines of a running Byway")
    log.add_argument("-f", "--follow", action="store_true", help="print new lines as they appear")
    log.add_argument("-n", "--lines", type=int, default=20, metavar="N", help="how many")
    log.set_defaults(verb=_log)


def asking(verbs: Verbs, name: str, text: str) -> Parser:
    """A verb that asks a running Byway."""
    verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    verb.add_argument("--socket", metavar="PATH", help="the control socket of the running Byway")
    verb.add_argument("-c", "--config", metavar="FILE", help="the config of the running Byway")
    return verb


def name(text: str) -> str:
    """A name of the command line as the config has it, whatever the terminal's encoding is."""
    if text.isascii():
        return text
    from byway.values.name import normal

    return normal(os.fsencode(text).decode("utf-8", "surrogateescape"))


def _json_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="JSON output")


def asked(
    options: argparse.Namespace,
    ask: Callable[[Client], int],
    patience: float | None = None,
    changes: bool = False,
) -> int:
    """Ask the running Byway that the options mean; tell what goes wrong, and which one changed."""
    found = None
    try:
        found = needed(options, patience)
        status = ask(found.client)
        if changes and status == 0:
            tell(found, options)
        return status
    except BywayError as error:
        return failed(error)
    except KeyboardInterrupt:
        return 130
    finally:
        if found is not None:
            found.client.close()


def failed(error: Exception) -> int:
    """Tell of an error, with its hint; the status of a verb that failed."""
    from byway.cli.faults import fault_lines
    from byway.ledger.log import escaped

    for line in fault_lines(error):
        print(escaped(line), file=sys.stderr)
    return 1


def _status(options: argparse.Namespace) -> int:
    from byway.cli.tables import status_lines

    def ask(client: Client) -> int:
        answer = client.ask("GET", "/status")
        _say(answer) if options.json else print("\n".join(status_lines(answer)))
        return 0

    return asked(options, ask)


def _flows(options: argparse.Namespace) -> int:
    if options.what == "cut":
        return asked(options, lambda client: _cut(client, options.ids), changes=True)
    return asked(options, lambda client: _listed(client, options))


def _listed(client: Client, options: argparse.Namespace) -> int:
    import shutil

    from byway.cli.tables import flow_lines

    watched = options.watch and not options.json and sys.stdout.isatty()
    past = (20 if watched or not options.watch else 0) if options.past is None else options.past
    query = {"sort": options.sort or ("rate" if watched else "id"), "limit": options.limit}
    if watched:
        from byway.cli.watch import watch

        return watch(client, SORTS, query["sort"], past, options.every)
    while True:
        answer = client.ask("GET", "/flows", None, **query, past=past)
        if options.json:
            _say(answer)
        else:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160
            print("\n".join(flow_lines(answer, width)), flush=True)
        if not options.watch:
            return 0
        import time

        time.sleep(options.every)


def _cut(client: Client, ids: list[int]) -> int:
    from byway.api.client import Refusal

    if not ids:
        print("byway: which flows? byway flows cut ID...", file=sys.stderr)
        return 2
    status = 0
    for number in ids:
        try:
            client.ask("DELETE", f"/flows/{number}")
            print(f"cut {number}")
        except Refusal as error:
            print(f"byway: {number}: {error}", file=sys.stderr)
            status = 1
    return status


def _reload(options: argparse.Namespace) -> int:
    from byway.ledger.log import escaped

    def ask(client: Client) -> int:
        answer = client.ask("POST", "/reload")
        if options.json:
            _say(answer)
            return 0
        changes = answer["changes"]
        assert isinstance(changes, list)
        for line in changes or ["nothing changed"]:
            print(escaped(str(line)))
        return 0

    return asked(options, ask, RELOADING, changes=True)


def _log(options: argparse.Namespace) -> int:
    from byway.ledger.log import escaped

    def ask(client: Client) -> int:
        if not options.follow:
            answer = client.ask("GET", "/log", None, recent=options.lines)
            lines = answer["lines"]
            assert isinstance(lines, list)
            for line in lines:
                print(escaped(str(line)))
            return 0
        for found in client.follow("/log", follow=1, recent=options.lines):
            if "lost" in found:
                print(f"({found['lost']} lines were lost in transit)", flush=True)
            else:
                print(escaped(str(found["line"])), flush=True)
        return 0

    return asked(options, ask)


def _say(answer: object) -> None:
    import json

    print(json.dumps(answer), flush=True)
