"""`byway probe`: the delay and throughput of outbounds, side by side, while one looks on."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from byway.cli.live import Verbs
    from byway.config import Config

View = Mapping[str, object]
Show = Callable[[View], None]

BAR = 24  # columns


def add_verb(verbs: Verbs) -> None:
    """Add it to the command line."""
    from byway.cli.live import asking, name

    text = "measure the delay and throughput of outbounds, side by side"
    probe = asking(verbs, "probe", text)
    probe.add_argument(
        "names", nargs="*", type=name, metavar="NAME|LINK",
        help="outbounds, groups, links (all outbounds)",
    )  # fmt: skip
    probe.add_argument("--url", help="the URL to measure the delay")
    probe.add_argument("--load", metavar="URL", help="the URL to measure the throughput; or `off`")
    probe.add_argument(
        "--times", type=int, default=3, metavar="N", help="responses per outbound (3)"
    )
    probe.add_argument(
        "--bytes", type=int, default=10_000_000, metavar="N", help="the maximum to download (10 MB)"
    )
    probe.add_argument(
        "--seconds", type=float, default=5.0, metavar="S", help="the maximum time of a download (5)"
    )
    probe.add_argument(
        "--timeout", type=float, default=5.0, metavar="S", help="time limit of a response (5)"
    )
    probe.add_argument("--at-once", type=int, default=1, metavar="N", help="parallel downloads (1)")
    probe.add_argument("--json", action="store_true", help="JSON output")
    probe.set_defaults(verb=probe_verb)


def probe_verb(options: argparse.Namespace) -> int:
    """Measure; 0 when all that was asked for got through."""
    from byway.api.message import Denied
    from byway.errors import BywayError, ConfigError, in_words
    from byway.ledger.log import escaped, escaped_lines

    try:
        return _probe(options)
    except ConfigError as error:
        print(escaped_lines(str(error)), file=sys.stderr)
    except (BywayError, Denied) as error:
        print(f"byway: {escaped_lines(str(error))}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {escaped(error.hint)}", file=sys.stderr)
    except OSError as error:
        print(f"byway: {escaped(in_words(error))}", file=sys.stderr)
    return 1


def table_lines(found: Sequence[View]) -> Iterator[str]:
    """The table: what works first, the quickest on top; below it, why others did not."""
    from byway.cli.columns import clipped, padded, width
    from byway.cli.tables import size
    from byway.ledger.log import escaped

    wide = max([4, *(min(width(escaped(str(one["name"]))), 32) for one in found)])
    yield f"{'name':<{wide}} {'dial':>8} {'answer':>8} {'delay':>8} {'rate':>9} {'read':>6}"
    for one in sorted(found, key=lambda one: (one["error"] is not None, _delay(one) or 9e9)):
        name = padded(clipped(escaped(str(one["name"])), wide), wide)
        dial, answer = (cast("float | None", one[key]) for key in ("dial", "answer"))
        rate = cast("float | None", one["rate"])
        text = "-" if rate is None else f"{size(rate)}B/s"
        read = size(cast(int, one["bytes"])) if one["bytes"] else "-"
        times = " ".join(f"{_ms(value):>8}" for value in (dial, answer, _delay(one)))
        yield f"{name} {times} {text:>9} {read:>6}"
    for one in found:
        if one["error"] is not None:
            hop = one["hop"]
            where = f" (at {hop})" if hop and hop != one["name"] else ""
            yield escaped(f"{one['name']} failed{where}: {one['error']}")


def _probe(options: argparse.Namespace) -> int:
    question = {
        "names": options.names, "times": options.times, "bytes": options.bytes,
        "seconds": options.seconds, "timeout": options.timeout, "at_once": options.at_once,
        "url": options.url, "load": options.load,
    }  # fmt: skip
    question = {key: value for key, value in question.items() if value is not None}
    import asyncio

    bar = _Bar(sys.stderr)
    found: dict[str, View] = {}

    def show(view: View) -> None:
        found[str(view["name"])] = view
        bar.show(found)

    try:
        if not _asked(options, question, show):
            asyncio.run(_ours(options, question, show))
    finally:
        bar.clear()
    results = list(found.values())
    print(json.dumps({"results": results}) if options.json else "\n".join(table_lines(results)))
    return 1 if any(one["error"] for one in results) else 0


def _asked(options: argparse.Namespace, question: View, show: Show) -> bool:
    """Have a running Byway measure, where there is one and its outbounds are meant."""
    from byway.cli.which import named_config, running

    if any("://" in name for name in options.names):
        return False
    if named_config(options) is not None and options.socket is None:
        return False
    found = running(options)
    if found is None:
        return False
    try:
        for view in found.client.follow("/probe", question):
            show(view)
    finally:
        found.client.close()
    return True


async def _ours(options: argparse.Namespace, question: View, show: Show) -> None:
    """Without a running Byway: by the config's own outbounds and those of links."""
    import contextlib

    from byway.api.probe import alone, chosen, plan_of

    config, names = _with_links(options)
    plan = plan_of(question)
    async with contextlib.aclosing(alone(config, chosen(config, names), plan)) as lines:
        async for line in lines:
            show(json.loads(line))


def _with_links(options: argparse.Namespace) -> tuple[Config, list[str]]:
    """The config, with an outbound for each link that was named. Raises ConfigError."""
    from byway.config import default, find, from_links, load

    path = find(options.config, os.environ, Path.cwd())
    config = default() if path is None else load(path)
    links = [name for name in options.names if "://" in name]
    if not links:
        return config, list(options.names)
    made = [from_links([link]).outbounds["link"] for link in links]
    names, outbounds = [], dict(config.outbounds)
    for name in options.names:
        if "://" in name:
            label = _label(name, outbounds)
            outbounds[label] = made.pop(0)
            names.append(label)
        else:
            names.append(name)
    return config.model_copy(update={"outbounds": outbounds}), names


def _label(link: str, taken: Mapping[str, object]) -> str:
    """The name of a link, without secrets, that no other outbound has."""
    from byway.config import read_link

    name = free = read_link(link).name
    number = 1
    while free in taken:
        number += 1
        free = f"{name}#{number}"
    return free


class _Bar:
    """How far it is, in one line of a terminal; nothing where there is none."""

    def __init__(self, to: TextIO) -> None:
        self._to = to if to.isatty() else None
        self._shown = ""

    def show(self, found: Mapping[str, View]) -> None:
        """Draw it."""
        if self._to is None:
            return
        from byway.cli.columns import clipped
        from byway.cli.tables import size
        from byway.ledger.log import escaped

        done = sum(bool(view["done"]) for view in found.values())
        now = [view for view in found.values() if not view["done"]]
        text = ""
        if now:
            last = now[-1]
            rate = cast("float | None", last["rate"])
            what = "delay" if last["phase"] == "delay" else f"{size(rate or 0)}B/s"
            text = f"{last['name']}: {what}"
        full = BAR * done // max(len(found), 1)
        line = f"[{'#' * full}{'-' * (BAR - full)}] {done} of {len(found)}  {text}"
        self._shown = clipped(escaped(line), 79)
        self._to.write(f"\r\x1b[K{self._shown}")
        self._to.flush()

    def clear(self) -> None:
        """Take it away."""
        if self._to is not None and self._shown:
            self._to.write("\r\x1b[K")
            self._to.flush()


def _delay(one: View) -> float | None:
    dial, answer = cast("float | None", one["dial"]), cast("float | None", one["answer"])
    return None if dial is None or answer is None else dial + answer


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"
