"""The verbs and their options. A verb returns the exit status: 0 well, 1 failed, 2 misused."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from byway.cli import background, doctor, imports, inside, live, probe, sets, system_proxy
from byway.cli.live import name
from byway.cli.parser import Parser

if TYPE_CHECKING:
    from byway.api.client import Client
    from byway.config import Config
    from byway.errors import BywayError


def parser() -> Parser:
    """The command line; the verb's function is in `verb`."""
    top = Parser(prog="byway", description="Carries a machine's traffic by way of somewhere else.")
    top.add_argument("-V", "--version", action=_Version, nargs=0, help="print the version")
    verbs = top.add_subparsers(required=True, metavar="VERB")

    run = verbs.add_parser("run", help="run a config in the foreground")
    _config_option(run)
    run.add_argument(
        "links",
        nargs="*",
        metavar="FILE|LINK",
        help="a config, or links: a chain of outbounds in order; - reads links from"
        " standard input, @FILE from a file, which keeps passwords out of the list of processes",
    )
    run.add_argument(
        "--system-proxy",
        action="store_true",
        help="set the desktop's proxy to this Byway while it runs",
    )
    run.set_defaults(verb=_run)

    check = verbs.add_parser("check", help="check a config and report all errors")
    _config_option(check)
    check.add_argument("file", nargs="?", metavar="FILE", help="the same")
    check.add_argument("--json", action="store_true", help="JSON output")
    check.set_defaults(verb=_check)

    demo = verbs.add_parser("demo", help="play a story in an internet in a box")
    demo.set_defaults(verb=partial(_program, "byway.lab.demo"), arguments=[])

    lab = verbs.add_parser("lab", help="open a shell in the demo's internet in a box")
    lab.add_argument("arguments", nargs="?", metavar="HOST", help="the host (laptop)")
    lab.set_defaults(verb=partial(_program, "byway.lab"))

    text = "print the link of an outbound or inbound, with a QR code"
    link = live.asking(verbs, "link", text)
    link.add_argument("name", type=name, metavar="NAME", help="an outbound or an inbound")
    link.add_argument(
        "--host", help="the address of this host for others, for the link of an inbound"
    )
    link.add_argument(
        "--qr",
        action=argparse.BooleanOptionalAction,
        help="print a QR code, too (default: on a terminal)",
    )
    link.set_defaults(verb=_link)

    password = verbs.add_parser("password", help="generate a password or key of the right length")
    method = "a method such as 2022-blake3-aes-128-gcm, or a protocol with passwords"
    password.add_argument("method", metavar="METHOD", help=method)
    password.set_defaults(verb=_password)
    background.add_verbs(verbs)
    inside.add_verb(verbs)
    doctor.add_verb(verbs)
    live.add_verbs(verbs)
    sets.add_verb(verbs)
    imports.add_verb(verbs)
    system_proxy.add_verb(verbs)
    rules = live.asking(verbs, "rules", "list the rules with their hits; disable or enable one")
    rules.add_argument("what", nargs="?", choices=["off", "on"], help="disable or enable a rule")
    rules.add_argument("which", nargs="?", metavar="RULE", help="its number, or :LINE")
    rules.add_argument("--for", dest="span", metavar="TIME", help="for this time: 30s, 10m, 2h")
    rules.add_argument(
        "--limit", type=int, default=1000, metavar="N", help="show the maximum to show"
    )
    rules.add_argument("--json", action="store_true", help="JSON output")
    rules.set_defaults(verb=_rules)

    probe.add_verb(verbs)
    select = live.asking(verbs, "select", "select a member of a group, or list the groups")
    select.add_argument(
        "group", nargs="?", type=name, metavar="GROUP", help="the group (default: all)"
    )
    select.add_argument(
        "member", nargs="?", type=name, metavar="MEMBER", help="the member to select"
    )
    select.add_argument("--json", action="store_true", help="JSON output")
    select.set_defaults(verb=_select)

    why = live.asking(verbs, "why", "explain which rule decides for a flow")
    why.add_argument("target", nargs="?", metavar="TARGET", help="a host, host:port or URL")
    why.add_argument("--port", type=int, help="the target's port (443)")
    why.add_argument("--network", choices=["tcp", "udp"], default="tcp")
    why.add_argument("--inbound", type=name, metavar="NAME", help="its inbound (the first)")
    why.add_argument("--source", metavar="ADDRESS", default="127.0.0.1", help="or `unix`")
    why.add_argument("--user", metavar="NAME", help="its user")
    why.add_argument("--process", metavar="NAME|PATH|PID", help="its program")
    why.add_argument("--sniffed-protocol", metavar="WORD", help="the protocol of its first bytes")
    why.add_argument("--sniffed-name", metavar="NAME", help="the name in its first bytes")
    why.add_argument("--flow", type=int, metavar="ID", help="a flow of a running Byway")
    why.add_argument("--json", action="store_true", help="JSON output")
    why.set_defaults(verb=_why)

    resolve = live.asking(
        verbs, "resolve", "resolve names as Byway does, and show which resolver answered"
    )
    resolve.add_argument("names", nargs="+", metavar="NAME", help="a host name")
    resolve.add_argument("--json", action="store_true", help="JSON output: one object per line")
    resolve.set_defaults(verb=_resolve)

    env = live.asking(
        verbs, "env", "print the environment variables that make a shell's programs use Byway"
    )
    env.add_argument(
        "--shell", choices=["bash", "fish", "powershell"], help="the shell (default: yours)"
    )
    env.add_argument(
        "--inbound", type=name, metavar="NAME", help="the inbound (default: the first mixed one)"
    )
    env.add_argument("--user", metavar="NAME", help="the user, if the inbound has users")
    env.add_argument("--unset", action="store_true", help="print the lines that undo it")
    env.set_defaults(verb=_env)

    schema = verbs.add_parser("schema", help="print the config's JSON Schema")
    schema.set_defaults(verb=_schema)
    return top


def verbs_of(top: argparse.ArgumentParser) -> Sequence[str]:
    """The words that a command line begins with."""
    (verbs,) = [one.choices for one in top._actions if isinstance(one, argparse._SubParsersAction)]
    return tuple(verbs)


def _config_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("-c", "--config", metavar="FILE", help="the config file")


class _Version(argparse.Action):
    """Tells the version. It is looked up only then: that costs a megabyte of imports."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        from byway.api.version import version

        print(f"byway {version()}")
        parser.exit()


def _run(options: argparse.Namespace) -> int:
    from byway.cli.lean import lean

    lean()
    from byway.cli.run import run
    from byway.cli.words import with_links_read
    from byway.errors import ConfigError, in_words
    from byway.ledger.log import escaped

    if options.links and options.config:
        print("byway: a config or links, not both", file=sys.stderr)
        return 2
    for word in options.links:
        if _is_subscription(word):
            return live.failed(_no_file(word))
    if len(options.links) == 1 and _is_config(options.links[0]):
        options.config, options.links = options.links[0], []
    try:
        links = with_links_read(options.links)
        config = _loaded(options.config, links)
    except ConfigError as error:
        return live.failed(error)
    except (OSError, ValueError) as error:
        print(f"byway: {escaped(in_words(error))}", file=sys.stderr)
        return 1
    return run(config, lambda: _loaded(options.config, links), options.system_proxy)


def _why(options: argparse.Namespace) -> int:
    from byway.cli.which import config_of, running
    from byway.cli.why import show, why
    from byway.errors import BywayError

    if (options.target is None) == (options.flow is None):
        print("byway: why no target: byway why TARGET, or byway why --flow ID", file=sys.stderr)
        return 2
    if options.flow is not None:

        def ask(client: Client) -> int:
            show(client.ask("GET", f"/flows/{options.flow}/why"), options.json)
            return 0

        return live.asked(options, ask)
    found = None
    try:
        found = running(options)
        return why(config_of(options, found), options, found)
    except BywayError as error:
        return live.failed(error)
    finally:
        if found is not None:
            found.client.close()


def _rules(options: argparse.Namespace) -> int:
    from byway.cli.rules import rules

    return rules(options)


def _select(options: argparse.Namespace) -> int:
    from byway.cli.select import select

    return select(options)


def _resolve(options: argparse.Namespace) -> int:
    """By the running Byway, unless a config or nothing that runs says otherwise."""
    from byway.cli.resolve import ask_running, names_of, resolve, show
    from byway.cli.which import config_of, named_config, running
    from byway.errors import BywayError
    from byway.ledger.log import escaped

    try:
        options.names = names_of(options.names)
    except ValueError as error:
        print(f"byway: {escaped(str(error))}", file=sys.stderr)
        return 2
    found = None
    try:
        if named_config(options) is None or options.socket is not None:
            found = running(options)
        if found is not None:
            return show(ask_running(found, options), options.json)
        return resolve(config_of(options, found), options)
    except (BywayError, OSError) as error:
        return live.failed(error)
    finally:
        if found is not None:
            found.client.close()


def _loaded(file: str | None, links: list[str]) -> Config:
    from byway.cli.which import loaded
    from byway.config import from_links

    return from_links(links) if links else loaded(file)


def _is_subscription(word: str) -> bool:
    """Whether it is the address of a document, and no link to an HTTP proxy."""
    scheme, separator, rest = word.partition("://")
    behind = rest.partition("@")[2] or rest
    document = "/" in behind.rstrip("/") or "?" in behind
    return bool(separator) and (
        scheme.lower() == "https" or (scheme.lower() == "http" and document)
    )


def _no_file(word: str) -> BywayError:
    from byway.errors import BywayError

    scheme, _, rest = word.partition("://")
    host = rest.rpartition("@")[2].partition("/")[0].partition("?")[0]  # the rest may be a secret
    message = f"{scheme}://{host} is not a config file"
    if not _is_subscription(word):
        return BywayError(message, "a link: byway run LINK, or byway import LINK -o byway.yaml")
    return BywayError(message, "a subscription: byway import URL -o byway.yaml, then byway run")


def _is_config(word: str) -> bool:
    """Whether a word of the command line is a file that is no list of servers."""
    from byway.config.read.foreign import foreign

    if "://" in word or word == "-" or word.startswith("@"):
        return False
    if not word.endswith(".json"):
        return True
    try:
        kind = foreign(Path(word).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "SIP008" not in kind


def _check(options: argparse.Namespace) -> int:
    from byway.config import check_report, find

    if options.file and options.config:
        print("byway: one config, not two", file=sys.stderr)
        return 2
    if options.file and "://" in options.file:
        return live.failed(_no_file(options.file))
    named = options.file or options.config or os.environ.get("BYWAY_CONFIG") or ""
    report = check_report(find(named, os.environ, Path.cwd()), named)
    print(report.json() if options.json else report.human())
    return 0 if report.ok else 1


def _link(options: argparse.Namespace) -> int:
    from byway.cli.link import link
    from byway.cli.which import config_of, running
    from byway.errors import BywayError

    found = None
    try:
        found = running(options)
        config = config_of(options, found)
    except BywayError as error:
        return live.failed(error)
    finally:
        if found is not None:
            found.client.close()
    qr = sys.stdout.isatty() if options.qr is None else options.qr
    return link(config, options.name, options.host, qr)


def _password(options: argparse.Namespace) -> int:
    from byway.cli.link import password

    return password(options.method)


def _program(module: str, options: argparse.Namespace) -> int:
    """Become another program of ours, one that stands beside the command line."""
    words = [options.arguments] if options.arguments else []
    os.execv(sys.executable, [sys.executable, "-m", module, *words])  # noqa: S606 - no shell wanted


def _env(options: argparse.Namespace) -> int:
    from byway.cli.env import NAMES, addresses, lines, variables
    from byway.cli.which import config_of, running
    from byway.errors import BywayError

    own = os.path.basename(os.environ.get("SHELL", ""))
    shell = options.shell or {"fish": "fish", "pwsh": "powershell"}.get(own, "bash")
    if options.unset:
        print("\n".join(lines(shell, dict.fromkeys(NAMES))))
        return 0
    found = None
    try:
        found = running(options)
        config = config_of(options, found)
        places = {} if found is None else addresses(found.status)
        print("\n".join(lines(shell, variables(config, options.inbound, options.user, places))))
    except (BywayError, ValueError) as error:
        return live.failed(error)
    finally:
        if found is not None:
            found.client.close()
    return 0


def _schema(_: argparse.Namespace) -> int:
    from byway.config.read.schema import schema_text

    print(schema_text())
    return 0
