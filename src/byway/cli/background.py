"""`byway up`, `byway confirm` and `byway down`: a Byway in the background."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from byway.cli import live

if TYPE_CHECKING:
    from byway.api.client import Client
    from byway.cli.live import Verbs
    from byway.config import Config

STARTING = 120.0  # seconds: a config may have hundred thousands of rules
ENDING = 60.0  # seconds beyond `limits.drain`
_READY = b"\0ready"


def add_verbs(verbs: Verbs) -> None:
    """Add them to the command line."""
    up = live.asking(verbs, "up", "run a config in the background, until `byway down`")
    up.add_argument("file", nargs="?", metavar="FILE", help="the config")
    text = "print what would be changed on this host, and change nothing"
    up.add_argument("--plan", action="store_true", help=text)
    up.add_argument(
        "--confirm",
        type=_span,
        metavar="TIME",
        help="end it, and undo all, unless `byway confirm` is run within this time: 30s, 5m",
    )
    up.set_defaults(verb=_up)
    confirm = live.asking(verbs, "confirm", "keep a Byway that `byway up --confirm` began")
    confirm.set_defaults(verb=_confirm)
    down = live.asking(verbs, "down", "end a running Byway, and undo its changes of this host")
    down.set_defaults(verb=_down)


def _span(text: str) -> float:
    from byway.values.texts import seconds

    try:
        return seconds(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration, such as 30s or 5m") from None


def _up(options: argparse.Namespace) -> int:
    from byway.cli.which import loaded, running, tell
    from byway.errors import BywayError

    options.config = options.file or options.config
    try:
        config = loaded(options.config)
        if options.plan:
            return _plan(config)
        found = running(options)
    except BywayError as error:
        return live.failed(error)
    if found is not None:
        found.client.close()
        tell(found, options)
        print("byway: it runs already: `byway reload` reloads its config", file=sys.stderr)
        return 1
    return _begun(config, options)


def _plan(config: Config) -> int:
    from byway.api.planned import ANY_PORT, planned

    lines = list(planned(config))
    for line in lines:
        print(line)
    if any(f":{ANY_PORT}" in line for line in lines):
        print(f"# {ANY_PORT} stands for a port that is chosen at the start")
    if not lines:
        print("# nothing on this host is changed: programs must be told of Byway's listeners")
    return 0


def _begun(config: Config, options: argparse.Namespace) -> int:
    """Begin it in a process of its own, and wait until it is ready or has failed."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        status = 1
        try:
            status = _serve(config, options, writer)
        finally:
            os._exit(status)
    os.close(writer)
    said = _heard(reader)
    text, ready, _ = said.partition(_READY)
    os.close(reader)
    stream = sys.stdout if ready else sys.stderr
    stream.write(text.decode("utf-8", "replace"))
    if ready and options.confirm is not None:
        print(f"run `byway confirm` within {options.confirm:g} s, or all is undone")
    return 0 if ready else 1


def _serve(config: Config, options: argparse.Namespace, writer: int) -> int:
    from byway.cli.run import run
    from byway.cli.which import loaded

    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(writer, 1)
    os.dup2(writer, 2)

    def ready() -> None:
        sys.stdout.flush()
        os.write(writer, _READY)
        for number in (1, 2, writer):
            os.dup2(nothing, number)

    return run(config, lambda: loaded(options.config), False, ready, options.confirm)


def _heard(reader: int) -> bytes:
    """What it says until it is ready, or has ended."""
    said, until = b"", time.monotonic() + STARTING
    while _READY not in said and (left := until - time.monotonic()) > 0:
        if select.select([reader], [], [], left)[0]:
            more = os.read(reader, 65536)
            if not more:
                break
            said += more
    return said


def _confirm(options: argparse.Namespace) -> int:
    def ask(client: Client) -> int:
        os.kill(_pid(client), signal.SIGUSR1)
        return 0

    return live.asked(options, ask)


def _down(options: argparse.Namespace) -> int:
    def ask(client: Client) -> int:
        pid = _pid(client)
        with contextlib.suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(process, signal.SIGTERM)
                if select.select([process], [], [], ENDING)[0]:
                    return 0
                signal.pidfd_send_signal(process, signal.SIGTERM)  # flows take too long
                if not select.select([process], [], [], ENDING)[0]:
                    print(f"byway: pid {pid} does not end", file=sys.stderr)
                    return 1
            finally:
                os.close(process)
        return 0

    return live.asked(options, ask)


def _pid(client: Client) -> int:
    pid = client.ask("GET", "/status")["pid"]
    assert isinstance(pid, int)
    return pid
