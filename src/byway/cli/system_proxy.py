"""`byway system-proxy`, and `byway run --system-proxy`: the desktop's own proxy settings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from byway.cli import live
from byway.interfaces import PORTLESS

if TYPE_CHECKING:
    from byway.flow import Target
    from byway.ledger.log import Log
    from byway.system.desktop import Desktop, Wanted
    from byway.system.settings import Settings

View = Mapping[str, object]


def add_verb(verbs: live.Verbs) -> None:
    """Add it to the command line."""
    verb = live.asking(verbs, "system-proxy", "set or restore the desktop's proxy")
    verb.add_argument("what", choices=["on", "off", "status"])
    verb.add_argument(
        "--pac", action="store_true", help="use the PAC file, which contains the rules"
    )
    verb.add_argument("--inbound", type=live.name, metavar="NAME", help="by which")
    verb.add_argument("--desktop", choices=["gnome", "kde"], help="of which (this session's)")
    verb.set_defaults(verb=_system_proxy)


def wanted(inbounds: Sequence[View], name: str | None, pac: bool) -> Wanted:
    """The desktop settings for these inbounds (`name`, `type`, `addresses` each).

    Raises ValueError where none fits.
    """
    from byway import dialects
    from byway.system.desktop import Wanted

    http = _at(inbounds, name, dialects.serving_programs("http"))
    socks = _at(inbounds, name, dialects.serving_programs("socks"))
    if pac:
        if http is None:
            raise ValueError(
                "no inbound serves a PAC file: this requires one of type "
                + " or ".join(dialects.serving_programs("http"))
            )
        return Wanted(pac=f"http://{http}/proxy.pac")
    if http is None and socks is None:
        what = f"no inbound {name!r}" if name else "no inbound that is a proxy"
        raise ValueError(f"{what} listens on an address")
    return Wanted(http, socks)


class SystemProxy:
    """The settings while a `byway run` lasts: set when entered, put back when left.

    A failure is logged and has no other effect. To be used off the event loop.
    """

    def __init__(self, log: Log, inbounds: Sequence[View]) -> None:
        self._log = log
        self._inbounds = inbounds
        self._desktop: Desktop | None = None

    def set(self) -> None:
        """Set them."""
        from byway.errors import BywayError
        from byway.system.desktop import desktop

        try:
            want = wanted(self._inbounds, None, False)
            found = desktop(os.environ)
            _settings().take(found, want, os.getpid())
        except (BywayError, ValueError) as error:
            hint = getattr(error, "hint", "")
            self._log.warning("the system's proxy is not set", error=error, hint=hint or None)
            return
        self._desktop = found
        self._log.info("the system's proxy is set", desktop=found.name)

    def put_back(self) -> None:
        """Put back what was there."""
        if self._desktop is not None:
            _log_put_back(self._log, self._desktop)


def put_back_what_was_left(log: Log) -> None:
    """Restore settings that a crashed Byway left. Costs next to nothing without such."""
    from byway.system.desktop import DesktopError, desktop

    settings = _settings()
    if settings.path is None or not settings.path.exists():
        return
    left = settings.left_behind()
    if left is not None:
        log.warning("the system's proxy is still set by a Byway that crashed")
        try:
            _log_put_back(log, desktop(os.environ, left.desktop))
        except DesktopError as error:
            log.warning("the system's proxy is not restored", error=error)


def _log_put_back(log: Log, found: Desktop) -> None:
    from byway.system.desktop import DesktopError

    try:
        kept = _settings().give_back(found)
    except DesktopError as error:
        log.warning("the system's proxy is not restored", error=error, hint=error.hint or None)
        return
    if kept:
        log.warning(
            "another program changed the system's proxy: left unchanged", keys=", ".join(kept)
        )
    log.info("the system's proxy is restored", desktop=found.name)


def _settings() -> Settings:
    from byway.system.settings import Settings

    return Settings(os.environ, os.getuid())


def _at(inbounds: Sequence[View], name: str | None, kinds: Sequence[str]) -> Target | None:
    """Where the first fitting inbound is reached from this host."""
    from byway.flow import Target

    for kind in kinds:
        for inbound in inbounds:
            if inbound["type"] != kind or (name is not None and inbound["name"] != name):
                continue
            addresses = inbound["addresses"]
            assert isinstance(addresses, list | tuple)
            for text in addresses:
                if not str(text).startswith(PORTLESS):
                    target = Target.parse(str(text))
                    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound
                    return Target.of(everywhere.get(target.host, target.host), target.port)
    return None


def _system_proxy(options: argparse.Namespace) -> int:
    from byway.errors import BywayError
    from byway.ledger.log import escaped
    from byway.system.desktop import desktop

    settings = _settings()
    try:
        if options.what == "on":
            return _on(options)
        taken = settings.taken()
        if taken is None:
            print("off: no setting of Byway")
            return 0
        found = desktop(os.environ, options.desktop or taken.desktop)
        if options.what == "status":
            return _status(options, found)
        kept = settings.give_back(found)
        print(f"off: the settings of {found.name} are restored")
        for key in kept:
            print(f"left unchanged, because another program changed it: {escaped(key)}")
    except (BywayError, ValueError) as error:
        print(f"byway: {escaped(str(error))}", file=sys.stderr)
        if hint := getattr(error, "hint", ""):
            print(f"  hint: {escaped(hint)}", file=sys.stderr)
        return 1
    return 0


def _on(options: argparse.Namespace) -> int:
    from byway.cli.which import needed, tell
    from byway.system.desktop import desktop

    found = needed(options)
    found.client.close()
    inbounds = found.status["inbounds"]
    assert isinstance(inbounds, list)
    want = wanted(inbounds, options.inbound, options.pac)
    there = desktop(os.environ, options.desktop)
    _settings().take(there, want)
    where = want.pac or ", ".join(
        f"{kind} {target}"
        for kind, target in (("HTTP", want.http), ("SOCKS", want.socks))
        if target is not None
    )
    print(f"on: {there.name} uses {where}")
    print("byway system-proxy off restores the previous settings")
    tell(found, options)
    return 0


def _status(options: argparse.Namespace, found: Desktop) -> int:
    from byway.api.client import NotRunning
    from byway.cli.which import needed
    from byway.ledger.log import escaped

    settings = _settings()
    taken = settings.taken()
    if taken is None:
        return 0
    changed = settings.changed(found, taken)
    print(f"on: {found.name}")
    for key, value in taken.set.items():
        mark = "  (changed since)" if key in changed else ""
        print(escaped(f"  {key}: {value if value is not None else 'not set'}") + mark)
    try:
        needed(options).client.close()
    except NotRunning:
        print(
            "Byway is not running, so programs cannot connect;"
            " byway system-proxy off restores the settings"
        )
    return 0
