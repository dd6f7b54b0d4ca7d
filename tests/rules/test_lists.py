"""Rule sets: every form of list, bad entries with their lines, and the order of the questions."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.flow import Flow, Network, Target
from byway.rules import NO_FACTS, Fact, Facts, Prefix
from byway.rules.lists import BY_LINE, gather
from byway.rules.matchers import Answer
from byway.rules.sets import NameTable, Place, PrefixTable, Takes


def to(host: str, port: int = 443, network: Network = Network.TCP) -> Flow:
    return Flow(1, network, "mixed", Target.parse("10.9.9.9:5"), Target.of(host, port))


def held(form: str, text: str, hosts: Sequence[str]) -> list[str]:
    contents = gather(form, text).contents()
    return [host for host in hosts if contents.match(to(host), Facts(())) is True]


def bad(form: str, text: str) -> list[tuple[int, str]]:
    return [(entry.line, entry.why) for entry in gather(form, text).bad]


HOSTS = ["a.example", "b.a.example", "c.b.a.example", "xa.example", "10.1.2.3", "track.org"]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("lines", "a.example", HOSTS[:3]),
        ("lines", "# one\n; two\n\n  A.Example.  # three", HOSTS[:3]),
        ("lines", "=a.example", HOSTS[:1]),
        ("lines", "full:a.example\ndomain:track.org", ["a.example", "track.org"]),
        ("lines", ".a.example", HOSTS[1:3]),
        ("lines", "+.a.example", HOSTS[:3]),
        ("lines", "*.a.example", HOSTS[1:2]),
        ("lines", "?a.*", ["xa.example"]),
        ("lines", "keyword:rack", ["track.org"]),
        ("lines", "regexp:^[ab]\\.", ["a.example", "b.a.example"]),
        ("lines", "10.0.0.0/8", ["10.1.2.3"]),
        ("clash", "a.example", HOSTS[:1]),
        ("clash", "+.a.example", HOSTS[:3]),
        ("clash", "payload:\n  - 'a.example' # x\n  - \"track.org\"\n  - 10.0.0.0/8\n",
         ["a.example", "10.1.2.3", "track.org"]),
        ("clash", "DOMAIN,a.example\nDOMAIN-SUFFIX,track.org", ["a.example", "track.org"]),
        ("clash", "DOMAIN-KEYWORD,rack\nIP-CIDR,10.0.0.0/8,no-resolve", ["10.1.2.3", "track.org"]),
        ("clash", "DOMAIN-WILDCARD,?a.*\nDOMAIN-REGEX,^c[.]", ["c.b.a.example", "xa.example"]),
        ("clash", "AND,((DOMAIN-SUFFIX,a.example),(NOT,((DOMAIN,b.a.example))))",
         ["a.example", "c.b.a.example"]),
        ("clash", "OR,((DST-PORT,80),(NETWORK,udp),(DOMAIN,track.org))", ["track.org"]),
        ("clash", "AND,((DST-PORT,400-500/8080),(SRC-PORT,5),(SRC-IP-CIDR,10.0.0.0/8))", HOSTS),
        ("hosts", "127.0.0.1 localhost\n0.0.0.0 a.example track.org # x\n::1 ip6-loopback",
         ["a.example", "track.org"]),
        ("adblock", "! x\n[Adblock Plus]\n||a.example^\n@@||b.a.example^", HOSTS[:1]),
        ("adblock", "|a.example^\n||10.1.2.3^\n0.0.0.0 track.org",
         ["a.example", "10.1.2.3", "track.org"]),
        ("adblock", "||*a.example^\n/^track/", [*HOSTS[:4], "track.org"]),
        ("sing-box", json.dumps({"version": 1, "rules": [{"domain": "a.example"}]}), HOSTS[:1]),
        ("sing-box", json.dumps({"rules": [{"domain_suffix": [".a.example"]},
                                           {"ip_cidr": ["10.0.0.0/8"]}]}),
         ["b.a.example", "c.b.a.example", "10.1.2.3"]),
        ("sing-box", json.dumps({"rules": [{"domain_suffix": "a.example", "domain": "track.org",
                                            "port": 443, "port_range": "1:2"}]}),
         [*HOSTS[:3], "track.org"]),
        ("sing-box", json.dumps({"rules": [{"type": "logical", "mode": "or", "invert": True,
                                            "rules": [{"domain_keyword": "a."},
                                                      {"ip_cidr": "10.0.0.0/8"}]}]}),
         ["track.org"]),
    ],
)  # fmt: skip
def test_a_list_takes_what_it_names(form: str, text: str, expected: list[str]) -> None:
    assert held(form, text, HOSTS) == expected
    assert bad(form, text) == []


@pytest.mark.parametrize(
    ("form", "text", "lines"),
    [
        ("lines", "a..b\nok.example\nregex:(a\n300.1.1.1\nkeyword:\n10.0.0.0/33", [1, 3, 4, 5, 6]),
        ("clash", "payload:\n  - 'ok'\n  - 'a b'\n  x: y", [3, 4]),
        ("clash", "GEOIP,CN\nDST-PORT,99999\nAND,((DOMAIN,a)\nMATCH,\nNOT,()", [1, 2, 3, 4, 5]),
        ("clash", "AND," * 20 + "((DOMAIN,a))", [1]),
        ("hosts", "a.example\n10.0.0.1 a.example\n0.0.0.0\n0.0.0.0 a..b", [1, 2, 3, 4]),
        ("adblock", "a.example##.ad\n||a^$dnstype=A\n||a.example/path^\n/(a/", [1, 2, 3, 4]),
        ("sing-box", "{\n", [2]),
        ("sing-box", "[]", [1]),
        ("sing-box", '{"rules": [\n{"domain": [\n"ok", "a b"]}, 7, {"geoip": "x"}]}', [3, 0, 0]),
    ],
)
def test_a_bad_entry_is_told_with_its_line_and_passed_over(
    form: str, text: str, lines: list[int]
) -> None:
    found = gather(form, text)

    assert [entry.line for entry in found.bad] == lines
    assert all(entry.why for entry in found.bad)


@given(st.sampled_from(sorted(BY_LINE)), st.text(max_size=80))
def test_no_text_breaks_a_reader(form: str, text: str) -> None:
    gather(form, text).contents().match(to("a.example"), NO_FACTS)


labels = st.sampled_from(["a", "b", "ab", "com"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
kinds = st.sampled_from([Takes.ITSELF, Takes.BELOW, Takes.CHILD, Takes.SUFFIX])


def takes(entry: str, kind: int, name: str) -> bool:
    """The reference."""
    depth = name.count(".") - entry.count(".")
    below = name.endswith(f".{entry}")
    return bool(
        (kind & Takes.ITSELF and name == entry)
        or (kind & Takes.BELOW and below)
        or (kind & Takes.CHILD and below and depth == 1)
    )


@given(names, st.lists(st.tuples(names, kinds), max_size=5))
def test_a_table_of_names_takes_what_the_slow_way_takes(
    name: str, entries: list[tuple[str, Takes]]
) -> None:
    table = NameTable((entry, kind, at) for at, (entry, kind) in enumerate(entries))

    slow = any(takes(entry, kind, name) for entry, kind in entries)
    assert table.holds(name) is slow
    place = table.place(name)
    assert (place is not None) is slow
    if place is not None:
        assert name == place.text or name.endswith(f".{place.text}")


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_a_table_of_prefixes_holds_what_any_prefix_holds(
    some: list[tuple[int, int]], number: int
) -> None:
    prefixes = [Prefix(4, bits, head >> (32 - bits)) for head, bits in some]
    table = PrefixTable((prefix, at) for at, prefix in enumerate(prefixes))
    addresses = [number, *(head for head, _ in some)]

    for packed in (address.to_bytes(4) for address in addresses):
        assert table.holds(packed) is any(prefix.holds(packed) for prefix in prefixes)
        assert (table.place(packed) is not None) is table.holds(packed)


def test_a_name_is_resolved_only_when_prefixes_could_tell() -> None:
    both = gather("lines", "a.example\n10.0.0.0/8").contents()
    literal = gather("clash", "a.example\nIP-CIDR,10.0.0.0/8,no-resolve").contents()
    inside = Facts((bytes([10, 0, 0, 1]),))

    def said(contents: object, facts: Facts) -> Answer:
        return contents.match(to("other.example"), facts)  # type: ignore[attr-defined,no-any-return]

    assert both.match(to("a.example"), NO_FACTS) is True
    assert said(both, NO_FACTS) is Fact.ADDRESS
    assert said(both, inside) is True
    assert said(literal, NO_FACTS) is False
    assert said(literal, inside) is False


def test_an_entry_is_found_by_its_line() -> None:
    contents = gather("lines", "x.example\n\na.example\n10.0.0.0/8\nkeyword:rack").contents()

    assert contents.place(to("b.a.example"), NO_FACTS) == Place(3, "a.example")
    assert contents.place(to("10.1.1.1"), NO_FACTS) == Place(4, "10.0.0.0/8")
    assert contents.place(to("track.org"), NO_FACTS) == Place(5, "keyword:rack")
    assert contents.place(to("n.org"), Facts((b"\n\0\0\1",))) == Place(4, "10.0.0.0/8")
    assert contents.place(to("n.org"), Facts(())) is None
