"""`why` and reality agree: on configs made at random, and on flows that a running App carried."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from byway.api.views import View
from byway.api.why import inquire, recall
from byway.app import App
from byway.app.naming import alone
from byway.config import Config, judge_of, load_text, open_sets
from byway.errors import Reason, Unreachable
from byway.facts.finder import Finder
from byway.flow import Flow, Network, Process, Sniffed, Target
from byway.ledger.log import way_of
from byway.rules import Facts
from tests.api.test_control import fits
from tests.facts import mmdb

NAMES = ["a.example", "www.a.example", "b.example", "none.example"]
KNOWN = {
    "a.example": [bytes([127, 0, 0, 1])],
    "www.a.example": [bytes([127, 0, 0, 2])],
    "b.example": [bytes([127, 1, 0, 1]), bytes([127, 0, 0, 1])],
}
COUNTRIES: dict[str, mmdb.Value] = {
    "127.0.0.0/24": {"country": {"iso_code": "DE"}},
    "127.1.0.0/24": {"country": {"iso_code": "FR"}},
}
UNKNOWN = "no running Byway uses these groups: the state of their members is unknown"
WAYS = ["direct", "spare", "chained", "pick", "reject", "drop"]


class Names:
    """A resolver that knows a few names."""

    async def resolve(self, name: str) -> Sequence[bytes]:
        if name not in KNOWN:
            raise Unreachable(f"no {name}", name, Reason.NAME_UNKNOWN)
        return KNOWN[name]


plain = st.fixed_dictionaries(
    {},
    optional={
        "domain": st.lists(st.sampled_from(NAMES), min_size=1, max_size=2),
        "domain_suffix": st.sampled_from(["a.example", "example"]),
        "ip": st.sampled_from(["127.0.0.0/24", "127.1.0.0/16", "127.0.0.2"]),
        "network": st.sampled_from(["tcp", "udp"]),
        "inbound": st.sampled_from(["door", "other"]),
        "source": st.sampled_from(["127.0.0.0/8", "10.0.0.0/8"]),
        "domain_keyword": st.sampled_from(["a.ex", "none", "w"]),
        "domain_wildcard": st.sampled_from(["*.a.example", "?.example"]),
        "domain_regex": st.sampled_from(["^w+[.]", "[ab].e"]),
        "port": st.sampled_from(["1-65535", 1]),
        "private": st.booleans(),
        "ip_version": st.sampled_from([4, 6]),
        "country": st.sampled_from(["DE", "FR"]),
        "set": st.sampled_from(["some", "lists"]),
    },
).filter(bool)
conditions = st.recursive(
    plain.map(lambda keys: dict(list(keys.items())[:2])),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"and": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"or": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=4,
)
switched = st.sampled_from([{}, {}, {}, {"enabled": False}])
rules = st.lists(
    st.tuples(conditions, st.sampled_from(WAYS), switched).map(
        lambda rule: {**rule[0], "to": rule[1], **rule[2]}
    ),
    max_size=8,
)


def config_of(rules: list[dict[str, object]], folder: str, dead: int) -> Config:
    """A config with these rules; two of its ways out lead nowhere."""
    whole = {
        "log": {"file": f"{folder}/log"},
        "limits": {"drain": "0s", "drop": "off"},
        "inbounds": {
            "door": {"type": "socks", "listen": "127.0.0.1:0", "limit": {"flows": 99}},
            "other": {"type": "socks", "listen": "127.0.0.1:0"},
        },
        "outbounds": {
            "spare": {"type": "http", "server": f"127.0.0.1:{dead}"},
            "chained": {"type": "socks", "server": "127.0.0.1:1", "via": "spare"},
            "direct": {"type": "direct", "limit": {"down": "1MB/s"}},
        },
        "groups": {"pick": {"type": "select", "members": ["direct", "spare"]}},
        "sets": {
            "some": {"type": "inline", "items": ["www.a.example", "127.1.0.0/16", "keyword:non"]},
            "lists": {"type": "file", "path": f"{folder}/names", "format": "clash"},
        },
        "geo": {"country": f"{folder}/geo.mmdb"},
        "rules": [*rules, {"otherwise": "direct", "limit": {"quota": "1GB"}}],
    }
    return load_text(yaml.safe_dump(whole), "x.yaml")


async def knock(place: str, target: Target) -> None:
    """Ask a SOCKS server for a target, and leave with the answer."""
    host, _, port = place.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    name = target.host.encode()
    wanted = b"\1" + target.packed if target.packed else b"\3" + bytes([len(name)]) + name
    writer.write(b"\5\1\0" + b"\5\1\0" + wanted + target.port.to_bytes(2, "big"))
    with contextlib.suppress(ConnectionError):
        await reader.read(12)
        await reader.read(12)
    writer.close()


async def agreed(config: Config, targets: Sequence[Target]) -> None:
    """Carry flows, and ask beforehand and afterwards why they went as they went."""
    sets = open_sets(config)
    assert not sets.problems
    judge, finder = judge_of(config, sets.sets), Finder(Names())
    async with App(config, Names()) as app, alone(config) as it:
        for target in targets:
            async with asyncio.timeout(20):
                await knock(app.addresses["door"][0], target)
                while not app.ledger.past or app.ledger.past[-1].flow.target != target:
                    await asyncio.sleep(0)
            passage = app.ledger.past[-1]
            why = await inquire(it.ways, judge, finder, passage.flow)
            past = recall(config, passage, app.now.judge)
            app.ledger.past.clear()
            assert (why.pop("end"), past.pop("end")) == ("", passage.reason)
            foreseen, taken = (choices_in(view.pop("groups")) for view in (why, past))
            assert foreseen == taken[: len(foreseen)]  # behind them is what a failed dial taught
            assert (why.pop("note"), past.pop("note")) == (UNKNOWN if foreseen else "", "")
            assert why == past
            assert why["limits"] == [str(limit) for limit in passage.limits]
            why |= {"end": "", "note": "", "groups": []}
            fits(why, "Why")
            assert why["verdict"] == way_of(passage.verdict)
            assert passage.verdict is not None
            assert cast(View, why["rule"])["line"] == passage.verdict.rule.line
            assert tuple(cast(str, hop["name"]) for hop in hops(why)) == passage.chain
            json.dumps(why)


def choices_in(groups: object) -> list[tuple[object, ...]]:
    """What each group chose, and why."""
    words = ("group", "member", "why", "failed")
    return [tuple(step[word] for word in words) for step in cast(Sequence[View], groups)]


def hops(why: View) -> Sequence[View]:
    return cast("Sequence[View]", why["chain"])


@settings(max_examples=15)
@given(rules, st.lists(st.sampled_from([*NAMES, "127.0.0.1", "127.1.0.9"]), min_size=1, max_size=4))
def test_why_and_reality_agree(rules: list[dict[str, object]], hosts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # bound and deaf: a connection is refused
        port = int(dead.getsockname()[1])
        Path(folder, "names").write_text("DOMAIN,b.example\nAND,((DST-PORT,1-9),(NETWORK,udp))\n")
        mmdb.write(Path(folder, "geo.mmdb"), COUNTRIES)
        config = config_of(rules, folder, port)
        asyncio.run(agreed(config, [Target.of(host, port) for host in hosts]))


async def test_a_fact_is_told_with_its_source() -> None:
    config = load_text("rules: [{ip: 127.1.0.0/16, to: reject}, {otherwise: direct}]", "x.yaml")
    target = Target.of("b.example", 443)
    flow = Flow(0, Network.TCP, "mixed", None, target)

    async with alone(config) as it:
        why = await inquire(it.ways, judge_of(config), Finder(Names()), flow)

    assert why["facts"] == [
        {"fact": "address", "found": "127.1.0.1, 127.0.0.1", "from": "the resolver"}
    ]
    assert why["verdict"] == "reject"
    assert hops(why) == []


@pytest.mark.parametrize(("host", "verdict"), [("nas.test", "reject"), ("b.example", "direct")])
async def test_a_name_of_hosts_needs_nobody_to_resolve_it(host: str, verdict: str) -> None:
    config = load_text(
        "inbounds: {door: {type: socks, listen: '127.0.0.1:0'}}\n"
        "dns: {hosts: {nas.test: 127.1.2.3, b.example: elsewhere.example}}\n"
        "rules: [{ip: 127.1.0.0/16, resolve: false, to: reject}, {otherwise: direct}]",
        "x.yaml",
    )
    async with App(config, Names()) as app:
        async with asyncio.timeout(20):
            await knock(app.addresses["door"][0], Target.of(host, 9))
            while not app.ledger.past:
                await asyncio.sleep(0)
        passage, names = app.ledger.past[-1], app.names
        finder = Finder(names, listed=names.listed)
        async with alone(config) as it:
            why = await inquire(it.ways, judge_of(config), finder, passage.flow, names=names)

    assert (way_of(passage.verdict), why["verdict"]) == (verdict, verdict)
    told = {"fact": "address", "found": "127.1.2.3", "from": "hosts"}
    assert why["facts"] == ([told] if host == "nas.test" else [])


async def test_facts_of_the_question_are_not_fetched() -> None:
    config = load_text(
        "rules: [{process: curl, sniffed: {domain_suffix: a.example}, to: reject},"
        " {otherwise: direct}]",
        "x.yaml",
    )
    flow = Flow(0, Network.TCP, "mixed", None, Target.of("127.0.0.1", 443))
    given = Facts(process=Process("curl", "/usr/bin/curl"), sniffed=Sniffed("tls", "www.a.example"))

    async with alone(config) as it:
        why = await inquire(it.ways, judge_of(config), Finder(Names()), flow, given=given)

    fits(why, "Why")
    assert why["facts"] == [
        {"fact": "process", "found": "/usr/bin/curl", "from": "the question"},
        {"fact": "sniffed", "found": "tls www.a.example", "from": "the question"},
    ]
    assert why["verdict"] == "reject"
    assert why["note"] == ""
    partly = Facts(process=given.process)
    async with alone(config) as it:
        why = await inquire(it.ways, judge_of(config), Finder(Names()), flow, given=partly)
    assert why["verdict"] == "direct"
    assert "--sniffed-name" in str(why["note"])


async def test_a_chain_is_told_with_places() -> None:
    text = """\
outbounds:
  hop: {type: http, server: "p.example:1"}
  end: {type: socks, server: "q.example:2", via: hop}
rules:
  - otherwise: end
"""
    config = load_text(text, "x.yaml")
    flow = Flow(0, Network.TCP, "mixed", None, Target.of("b.example", 443))

    async with alone(config) as it:
        why = await inquire(it.ways, judge_of(config), Finder(Names()), flow)

    assert hops(why) == [
        {"name": "hop", "type": "http", "server": "p.example:1", "line": 2},
        {"name": "end", "type": "socks", "server": "q.example:2", "line": 3},
    ]
