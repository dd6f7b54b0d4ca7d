"""The question and the results of `byway probe`, with a running Byway or without one."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence

from byway.api.groups import nearest_hint
from byway.api.message import Denied
from byway.app import App
from byway.config import Config
from byway.config.groups import PROBE_URL
from byway.engine import Engine
from byway.interfaces import Outbound
from byway.outbounds.measure import Measure, Plan, measured
from byway.outbounds.probe import Asking
from byway.outbounds.secure import WebTls
from byway.protocols.web_address import WebAddress

View = dict[str, object]

LOAD_URL = "https://speed.cloudflare.com/__down?bytes=10000000"

MOST_PROBED = 1000
MOST_BYTES = 10_000_000_000
MOST_SECONDS = 60.0
MOST_TIMES = 20
MOST_AT_ONCE = 16


def plan_of(question: Mapping[str, object]) -> Plan:
    """The plan that a question describes. Raises Denied."""
    timeout = _number(question, "timeout", 5.0, 0.1, MOST_SECONDS)
    expect = question.get("expect", [])
    if not isinstance(expect, list) or not all(isinstance(one, int) for one in expect):
        raise Denied(400, "expect is a list of statuses")
    address = _address(question.get("url") or PROBE_URL)
    load = question.get("load") or LOAD_URL
    return Plan(
        Asking(address, tuple(expect), timeout),
        None if load == "off" else _address(load),
        int(_number(question, "times", 3, 1, MOST_TIMES)),
        int(_number(question, "bytes", 10_000_000, 1, MOST_BYTES)),
        _number(question, "seconds", 5.0, 0.1, MOST_SECONDS),
        int(_number(question, "at_once", 1, 1, MOST_AT_ONCE)),
    )


def chosen(config: Config, names: Sequence[object]) -> list[str]:
    """The outbounds that names stand for (a group: its members; no names: all). Raises Denied."""
    known = [*config.outbounds, *config.groups]
    found: dict[str, None] = {}

    def add(name: str) -> None:
        if name not in config.groups:
            found[name] = None
            return
        for member in config.groups[name].members:
            add(member)

    for name in names or config.outbounds:
        if not isinstance(name, str) or name not in known:
            hint = nearest_hint(str(name), known)
            raise Denied(404, f"there is no outbound or group {str(name)!r}", hint)
        add(name)
    if len(found) > MOST_PROBED:
        raise Denied(400, f"more than {MOST_PROBED} outbounds at once")
    return list(found)


async def lines(
    names: Sequence[str], outbounds: Mapping[str, Outbound], plan: Plan, engine: Engine
) -> AsyncGenerator[str, None]:
    """The findings as JSON, one object a line, whenever something in it is new."""
    ways = {name: outbounds[name] for name in names}
    found = measured(ways, plan, WebTls(engine))
    try:
        async for measure in found:
            yield json.dumps(measure_view(measure, outbounds[measure.name]))
    finally:
        await found.aclose()


def measure_view(measure: Measure, way: Outbound) -> View:
    """One outbound and what was found of it so far. Seconds, bytes, bytes a second."""
    return {
        "name": measure.name,
        "chain": list(way.chain),
        "phase": measure.phase,
        "done": measure.done,
        "dial": None if measure.dial is None else round(measure.dial, 4),
        "answer": None if measure.answer is None else round(measure.answer, 4),
        "bytes": measure.moved,
        "rate": None if measure.rate is None else round(measure.rate),
        "error": measure.error or None,
        "hop": measure.hop or None,
    }


async def alone(config: Config, names: Sequence[str], plan: Plan) -> AsyncGenerator[str, None]:
    """As `lines`, by the outbounds of a config that is not run. Raises OSError for a bad file."""
    quiet = config.log.model_copy(update={"level": "error", "file": None})
    # Nothing enters, and no list is fetched; names are resolved and proxies reached as ever.
    bare: dict[str, object] = {"log": quiet, "inbounds": {}, "rules": ()}
    if config.dns is None:
        bare["sets"] = {}
    async with App(config.model_copy(update=bare)) as app:
        found = lines(names, app.now.outbounds, plan, app.engine)
        try:
            async for line in found:
                yield line
        finally:
            await found.aclose()


def _address(text: object) -> WebAddress:
    try:
        return WebAddress.parse(str(text))
    except (ValueError, UnicodeError) as error:
        raise Denied(400, f"not a web address: {error}", f"for example {PROBE_URL}") from None


def _number(
    question: Mapping[str, object], key: str, default: float, low: float, high: float
) -> float:
    value = question.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Denied(400, f"{key} is a number from {low:g} to {high:g}")
    return value
