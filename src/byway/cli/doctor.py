"""`byway doctor`: does this host's traffic go as it should?"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from byway.cli import live

if TYPE_CHECKING:
    from byway.api.doctor import Finding
    from byway.cli.live import Verbs
    from byway.config import Config


def add_verb(verbs: Verbs) -> None:
    """Add it to the command line."""
    text = "check that this host's traffic goes by Byway, and what stands in the way"
    verb = live.asking(verbs, "doctor", text)
    text = "undo what a Byway that was killed left on this host, then check"
    verb.add_argument("--fix", action="store_true", help=text)
    verb.add_argument("--json", action="store_true", help="JSON output")
    verb.set_defaults(verb=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from byway.api.doctor import examine, mend
    from byway.errors import BywayError
    from byway.ledger.log import escaped

    findings: list[Finding] = []
    if options.fix:
        try:
            for what in mend():
                print(f"undone: {what}", file=sys.stderr)
        except BywayError as error:
            return live.failed(error)
    config, runs = _config(options, findings)
    findings += examine(config, runs)
    if options.json:
        print(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        for one in findings:
            print(escaped(f"{one.verdict:<8} {one.check:<9} {one.what}"))
            if one.fix and one.verdict != "ok":
                print(escaped(f"{'':<18} fix: {one.fix}"))
    return int(any(one.verdict == "fault" for one in findings))


def _config(options: argparse.Namespace, findings: list[Finding]) -> tuple[Config | None, bool]:
    """The config of the Byway that runs, or that would; and whether one runs."""
    from byway.api.doctor import Finding
    from byway.cli.which import config_of, running
    from byway.errors import BywayError, ConfigError

    runs = False
    try:
        found = running(options)
        runs = found is not None
        try:
            config = config_of(options, found)
        finally:
            if found is not None:
                found.client.close()
    except BywayError as error:
        wrong = isinstance(error, ConfigError)
        fix = "byway check" if wrong else "name its config with -c"
        findings.append(Finding("config", "fault" if wrong else "skipped", str(error), fix))
        return None, runs
    what = "Byway runs" if runs else "Byway is not running; its config has no errors"
    findings.append(Finding("config", "ok", what))
    return config, runs
