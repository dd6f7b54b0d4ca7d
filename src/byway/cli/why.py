"""`byway why`: which rule sends a flow which way, and why the ones before it did not."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from byway.cli.tables import member_lines
from byway.ledger.log import escaped

if TYPE_CHECKING:
    from byway.cli.which import Running
    from byway.config import Config
    from byway.flow import Flow, Process
    from byway.rules import Facts

View = Mapping[str, object]

PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21, "ssh": 22}
DEFAULT_PORT = 443
_WITHIN = {"set", "ip", "source", "country", "asn", "source_country", "source_asn"}


def why(config: Config, options: argparse.Namespace, found: Running | None) -> int:
    """Explain a flow that has not happened, from a config, and the Byway that runs it."""
    try:
        flow, given = _flow(config, options), _given(options)
    except ValueError as error:
        print(f"byway: {escaped(str(error))}", file=sys.stderr)
        return 2
    show(asyncio.run(_inquired(config, flow, given, found)), options.json)
    return 0


def show(answer: View, as_json: bool) -> None:
    """Print an explanation."""
    print(json.dumps(answer) if as_json else "\n".join(lines(answer)))


def lines(answer: View) -> Iterator[str]:
    """An explanation for a person; what came from the network is escaped."""
    who = f", user {answer['user']}" if answer["user"] else ""
    where = f"in by {answer['inbound']} from {answer['source']}{who}"
    yield escaped(f"{answer['target']} ({answer['network']}, {where})")
    for fact in _views(answer["facts"]):
        yield escaped(f"  fact     {fact['fact']}: {fact['found']} (from {fact['from']})")
    yield ""
    for tried in _views(answer["rules"]):
        rule = cast(View, tried["rule"])
        mark = "->" if tried["outcome"] == "matched" else "  "
        yield escaped(f"{mark} {_place(rule):<20} {rule['text']}")
        if tried["outcome"] == "disabled":
            yield "       disabled"
        for check in _views(tried["checks"]):
            yield from _check_lines(check, 7)
    yield ""
    yield escaped(f"verdict  {answer['verdict']}")
    hops = _views(answer["chain"])
    if hops:
        yield escaped("chain    " + " > ".join(_hop(hop, answer) for hop in hops))
    for step in _views(answer["groups"]):
        if step["failed"] and step["member"]:
            yield escaped(f"group    {step['group']}: {step['member']} failed: {step['why']}")
            continue
        taken = step["member"] or "nobody"
        yield escaped(f"group    {step['group']} takes {taken}: {step['why']}")
        for line in member_lines(_views(step["members"]), str(step["member"]), ""):
            yield f"         {line}"
    if name := cast("View | None", answer["name"]):
        yield escaped(f"name     {resolved(name)}")
    if answer["known"]:
        yield escaped(f"known    {answer['known']}")
    if answer["guarded"] and hops:
        yield "guarded  from another host: it cannot reach this host's own addresses"
    for limit in cast("Sequence[str]", answer["limits"]):
        yield escaped(f"limit    {limit}")
    if answer["end"]:
        yield escaped(f"end      {answer['end']}")
    if answer["note"]:
        yield escaped(f"note     {answer['note']}")


def resolved(name: View) -> str:
    """How a name is resolved, in a line."""
    found = ", ".join(cast("list[str]", name["addresses"])) or name["error"]
    led = f" (hosts: {name['led']})" if name["led"] else ""
    rule = cast("View | None", name["rule"])
    by = f", by {_place(rule)} {rule['text']}" if rule else ""
    text = f"{name['words']}{by}"
    return f"{name['name']}{led}: " + (f"{found} (from {text})" if found else text)


def _check_lines(check: View, indent: int) -> Iterator[str]:
    answer = {True: "yes", False: "no"}.get(cast(bool, check["answer"]), "unknown")
    text = f"{check['condition']}: {answer}"
    if check["lacks"]:
        text += f", {check['asked']} was not needed"
    elif check["found"]:
        text += f", {check['found']}"
    elif check["asked"]:
        within = "in " if str(check["condition"]).split()[-1] in _WITHIN else ""
        text += f", {check['asked']} is not {within}{check['wanted']}"
    yield escaped(" " * indent + text)
    for part in _views(check["parts"]):
        yield from _check_lines(part, indent + 2)


def _place(rule: View) -> str:
    return f"{str(rule['file']).rpartition('/')[2]}:{rule['line']}" if rule["line"] else "(default)"


def _hop(hop: View, answer: View) -> str:
    text = f"{hop['name']}"
    if hop["server"]:
        text += f" ({hop['type']} {hop['server']})"
    if hop["line"]:
        text += f" [{str(answer['file']).rpartition('/')[2]}:{hop['line']}]"
    return text


def _flow(config: Config, options: argparse.Namespace) -> Flow:
    """The flow that the options describe. Raises ValueError."""
    from byway.flow import Flow, Network, Target

    text, port = _split(options.target, options.port)
    name = options.inbound or next(iter(config.inbounds), "")
    section = config.inbounds.get(name)
    if section is None:
        known = ", ".join(config.inbounds)
        raise ValueError(f"there is no inbound {name!r}; known: {known}")
    source = None
    if options.source != "unix":
        try:
            source = Target.parse(options.source)
        except ValueError:
            source = Target.of(options.source, 0)
        if source.packed is None:
            raise ValueError(f"a source is an address, not the name {options.source!r}")
    network = Network(options.network)
    target = Target.of(ascii_name(text), port)
    return Flow(0, network, name, source, target, options.user, section.guarded)


def ascii_name(text: str) -> str:
    """A host as it is carried: a name in another script as punycode. Raises ValueError."""
    if text.isascii():
        return text
    from byway.values.hosts import name

    return name(text) + "." * text.endswith(".")


def _split(text: str, port: int | None) -> tuple[str, int]:
    """Host and port of a URL, `host:port` or a host. Raises ValueError."""
    from byway.flow import Target, packed_address

    if "://" in text:
        parts = urlsplit(text)
        found = parts.port or PORTS.get(parts.scheme, DEFAULT_PORT)
        return parts.hostname or "", port or found
    if packed_address(text.strip("[]")) is not None or ":" not in text:
        return text.strip("[]"), port or DEFAULT_PORT
    host, _, digits = text.rpartition(":")
    target = Target.parse(f"{ascii_name(host)}:{digits}")
    return target.full, port or target.port


def _given(options: argparse.Namespace) -> Facts:
    """The facts that the question itself gives. Raises ValueError."""
    from byway.flow import PROTOCOLS, Sniffed, Target
    from byway.rules import Facts

    protocol, name = options.sniffed_protocol or "", options.sniffed_name or ""
    if protocol and protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    name = ascii_name(name)
    if name and not (target := Target.of(name, 0)).is_name:
        raise ValueError(f"a sniffed name is a name, not the address {target.host}")
    sniffed = None
    if protocol or name:
        sniffed = Sniffed(protocol, Target.of(name, 0).host if name else "")
    return Facts(process=_process(options.process), sniffed=sniffed)


def _process(text: str | None) -> Process | None:
    """A program by its path or the name of its file, or a running process by its number."""
    from byway.flow import Process
    from byway.system.processes import process_of

    if not text:
        return None
    if text.isascii() and text.isdigit():
        try:
            return process_of(int(text[:12]))
        except LookupError as error:
            raise ValueError(str(error)) from None
    name = text.rpartition("/")[2]
    if not name or ("/" in text and not text.startswith("/")):
        raise ValueError(f"{text!r} is not the path of a program from the root")
    return Process(name, text if "/" in text else "")


async def _inquired(config: Config, flow: Flow, given: Facts, found: Running | None) -> View:
    from byway.api.why import inquire
    from byway.app.naming import alone
    from byway.cli.rules import off_by_hand
    from byway.cli.select import choices_of
    from byway.config import judge_of
    from byway.facts.finder import Finder

    async with alone(config) as it:
        names = it.names
        finder = Finder(names, listed=names.listed)

        def live(outbound: str) -> Mapping[str, dict[str, object]]:
            return {} if found is None else choices_of(found.client, flow, outbound)

        off = frozenset() if found is None else off_by_hand(found.status, config)
        judge = judge_of(config).without(off)
        try:
            return await inquire(it.ways, judge, finder, flow, live, given, names)
        finally:
            finder.close()


def _views(value: object) -> Sequence[View]:
    return cast("Sequence[View]", value)
