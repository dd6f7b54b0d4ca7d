"""`byway exec`: one command with all its traffic inside Byway, as an ordinary user."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from byway.cli import live

if TYPE_CHECKING:
    from byway.cli.live import Verbs
    from byway.config import Config
    from byway.system.tun import Tun

NOT_BEGUN, NOT_FOUND = 126, 127  # as shells have it
_GO = b"go"


def add_verb(verbs: Verbs) -> None:
    """Add it to the command line."""
    verb = live.asking(verbs, "exec", "run one command with all its traffic by Byway")
    verb.add_argument(
        "--link", action="append", default=[], metavar="LINK", help="a hop, in place of a config"
    )
    verb.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command")
    verb.set_defaults(verb=_exec)


def _exec(options: argparse.Namespace) -> int:
    from byway.config import from_links
    from byway.config.read.inside import inside
    from byway.errors import BywayError

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        print("byway: no command: byway exec COMMAND [ARGUMENT...]", file=sys.stderr)
        return 2
    try:
        found = from_links(options.link) if options.link else _config(options)
        config = inside(found)
    except BywayError as error:
        return live.failed(error)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _within(theirs, command)
    theirs.close()
    for number in (signal.SIGINT, signal.SIGQUIT):  # the terminal gives them to the command, too
        signal.signal(number, signal.SIG_IGN)
    return _outside(config, ours, child)


def _config(options: argparse.Namespace) -> Config:
    from byway.cli.which import config_of, running

    found = running(options)
    try:
        return config_of(options, found)
    finally:
        if found is not None:
            found.client.close()


def _within(link: socket.socket, command: list[str]) -> NoReturn:
    """The child: enter, hand the NIC out, and become the command."""
    from byway.config.read.inside import ADDRESSES, MTU, NAME
    from byway.errors import BywayError, in_words
    from byway.system.inside import enter

    status = NOT_BEGUN
    try:
        tun = enter(NAME, MTU, ADDRESSES)
        offloads = bytes(tun.offloads.on)
        socket.send_fds(link, [offloads], [tun.fd])
        tun.close()
        if link.recv(16) == _GO:
            link.close()
            os.execvp(command[0], command)  # noqa: S606 - what the person asked for
    except FileNotFoundError:
        print(f"byway: {command[0]}: no such program", file=sys.stderr)
        status = NOT_FOUND
    except (OSError, BywayError) as error:
        print(f"byway: {in_words(error)}", file=sys.stderr)
    except Exception:
        traceback.print_exc()  # a fault of ours: nobody above this process would tell
    finally:
        sys.stderr.flush()
        os._exit(status)


def _outside(config: Config, link: socket.socket, child: int) -> int:
    from byway.errors import in_words
    from byway.system.open_files import raise_open_files
    from byway.system.tun import Offloads, Tun

    said, fds, _, _ = socket.recv_fds(link, 3, 1)
    if not fds:
        return _ended(child)  # it has said why
    os.set_blocking(fds[0], False)
    tun = Tun("byway", fds[0], Offloads(*map(bool, said)))
    raise_open_files()
    try:
        return asyncio.run(_carried(config, tun, link, child))
    except OSError as error:
        print(f"byway: {in_words(error)}", file=sys.stderr)
        link.close()  # which ends the child
        _ended(child)
        return NOT_BEGUN


async def _carried(config: Config, tun: Tun, link: socket.socket, child: int) -> int:
    from byway.app import App
    from byway.config.read.inside import lend

    lend(config, tun)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, _pass_on, child, number)
    process = os.pidfd_open(child)
    loop.add_reader(process, over.set)
    try:
        async with App(config):
            link.send(_GO)
            link.close()
            await over.wait()
    finally:
        loop.remove_reader(process)
        os.close(process)
    return _ended(child)


def _pass_on(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _ended(child: int) -> int:
    """The command's status; ended by a signal, as shells have it."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 128 - code if code < 0 else code
