"""sing-box's lists of any size: what the engine keeps says what reading item by item says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.flow import Flow, Network, Target
from byway.rules import Facts, large_json
from byway.rules.gathering import BadEntry
from byway.rules.lists import gather
from byway.rules.sets import Contents

NAMES = [
    "a.example",
    "b.a.example",
    ".c.example",
    "x",
    "1.2.3.4",
    "0.a.example",
    "=b",
    "*.d.example",
]
HOSTS = [
    *("a.example", "b.a.example", "z.b.a.example", "c.example", "z.c.example", "y.z.c.example"),
    *("x", "z.x", "z.d.example", "z.0.a.example", "10.1.2.3", "192.0.2.1", "2001:db8::1"),
]
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4)
plain = st.dictionaries(
    st.sampled_from(["domain", "domain_suffix", "ip_cidr", "domain_keyword"]), names, max_size=3
).map(
    lambda rule: rule | ({"ip_cidr": ["10.0.0.0/8", "2001:db8::/32"]} if "ip_cidr" in rule else {})
)
rules = st.recursive(
    st.one_of(plain, plain.map(lambda rule: rule | {"port": [443]})),
    lambda inner: st.builds(
        lambda of, mode, invert: {"type": "logical", "mode": mode, "rules": of, "invert": invert},
        st.lists(inner, min_size=1, max_size=2),
        st.sampled_from(["and", "or"]),
        st.booleans(),
    ),
    max_leaves=4,
)


def said(contents: Contents) -> list[object]:
    flows = [
        Flow(1, Network.TCP, "in", None, Target.of(host, port))
        for host in HOSTS
        for port in (80, 443)
    ]
    facts = (Facts(), Facts(addresses=(bytes([10, 0, 0, 1]),)), Facts(addresses=()))
    return [contents.match(flow, known) for flow in flows for known in facts]


def faults(bad: list[BadEntry]) -> list[tuple[str, str]]:
    return sorted((one.text.removeprefix("="), one.why) for one in bad)


@given(st.lists(rules, max_size=4), st.sampled_from([None, 1]))
def test_long_arrays_say_what_each_of_their_items_says(
    some: list[dict[str, Any]], indent: int | None
) -> None:
    text = json.dumps({"version": 3, "rules": some}, indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "LONG", 0)
        contents, bad = large_json.contents_of_json(text.encode())
    slowly = gather("sing-box", text)

    assert said(contents) == said(slowly.contents())
    assert faults(bad) == faults(slowly.bad)


def test_a_long_array_is_kept_by_the_engine() -> None:
    some = [f"n{at}.example" for at in range(20_000)]
    data = json.dumps({"rules": [{"domain": some, "domain_suffix": ["b.example"]}]}).encode()
    contents, bad = large_json.contents_of_json(data)

    assert (len(contents), bad) == (20_001, [])
    place = contents.place(Flow(1, Network.TCP, "", None, Target.of("n7.example", 1)), Facts())
    assert place is not None
    assert (place.line, place.text) == (0, "n7.example")


@pytest.mark.parametrize("data", [b"", b"[", b'{"rules": 1}', b'{"domain": ["a"]}', b"\xff\xfe"])
def test_what_is_no_list_is_told(data: bytes) -> None:
    contents, (bad,) = large_json.contents_of_json(data)
    assert len(contents) == 0
    assert bad.why
