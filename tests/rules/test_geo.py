"""Conditions on countries and networks, against a slow reference; and lists that have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.flow import Flow, Network, Process, Target
from byway.rules import NO_FACTS, Fact, Facts
from byway.rules.geo import FromCountry, FromSystem, InCountry, InSystem, World
from byway.rules.lists import gather


class Atlas:
    """Knows an address's country and network by its first byte."""

    def country(self, packed: bytes) -> str:
        return {10: "DE", 20: "US", 32: "FR"}.get(packed[0], "")

    def system(self, packed: bytes) -> int:
        return packed[0] if packed[0] in (10, 20, 32) else 0


ATLAS = Atlas()
WORLD = World(ATLAS, ATLAS)
addresses = st.sampled_from(["10.0.0.1", "20.0.0.1", "30.0.0.1", "2001:db8::1"])
hosts = addresses | st.just("a.example")
packed = addresses.map(lambda text: Target.of(text, 0).packed or b"")


def flow(host: str, source: str | None = None) -> Flow:
    came = None if source is None else Target.of(source, 5)
    return Flow(1, Network.TCP, "mixed", came, Target.of(host, 443))


@given(hosts, st.none() | st.lists(packed, max_size=3), st.sets(st.sampled_from(["DE", "US"])))
def test_a_target_is_where_any_of_its_addresses_is(
    host: str, found: list[bytes] | None, codes: set[str]
) -> None:
    facts = Facts(addresses=None if found is None else tuple(found))
    target = Target.of(host, 443)
    known = [target.packed] if target.packed else found
    numbers = frozenset({"DE": 10, "US": 20}[code] for code in codes)

    in_country = InCountry(frozenset(codes), ATLAS).match(flow(host), facts)
    in_system = InSystem(numbers, ATLAS).match(flow(host), facts)

    if known is None:
        assert in_country is in_system is Fact.ADDRESS
    else:
        expected = any(ATLAS.country(one) in codes for one in known)
        assert in_country is in_system is expected


def test_without_resolving_no_name_matches() -> None:
    facts = Facts(addresses=(b"\n\0\0\1",))

    assert InCountry(frozenset({"DE"}), ATLAS, False).match(flow("a.example"), facts) is False
    assert InSystem(frozenset({10}), ATLAS, False).match(flow("10.0.0.1"), NO_FACTS) is True


@given(st.none() | addresses, st.sampled_from(["DE", "US", "FR"]))
def test_a_source_is_where_its_address_is(source: str | None, code: str) -> None:
    number = {"DE": 10, "US": 20, "FR": 32}[code]
    came = flow("h", source)
    expected = came.source is not None and ATLAS.country(came.source.packed or b"") == code

    assert FromCountry(frozenset({code}), ATLAS).match(came, NO_FACTS) is expected
    assert FromSystem(frozenset({number}), ATLAS).match(came, NO_FACTS) is expected


@pytest.mark.parametrize(
    ("entry", "host", "source", "expected"),
    [
        ("GEOIP,de", "10.0.0.1", None, True),
        ("GEOIP,US", "10.0.0.1", None, False),
        ("GEOIP,DE,no-resolve", "a.example", None, False),
        ("GEOIP,DE", "a.example", None, Fact.ADDRESS),
        ("GEOIP,private", "192.168.0.1", None, True),
        ("GEOIP,LAN,no-resolve", "a.example", None, False),
        ("SRC-GEOIP,US", "h", "20.0.0.1", True),
        ("SRC-GEOIP,private", "h", "192.168.1.1", True),
        ("IP-ASN,10", "10.0.0.1", None, True),
        ("IP-ASN,AS20,no-resolve", "10.0.0.1", None, False),
        ("SRC-IP-ASN,20", "h", "20.0.0.1", True),
        ("AND,((GEOIP,DE),(DST-PORT,443))", "10.0.0.1", None, True),
        ("PROCESS-NAME,curl", "h", None, True),
        ("PROCESS-NAME,wget", "h", None, False),
        ("PROCESS-PATH,/usr/bin/curl", "h", None, True),
        ("UID,1000", "h", None, True),
    ],
)
def test_a_clash_list_asks_the_world_and_the_kernel(
    entry: str, host: str, source: str | None, expected: bool | Fact
) -> None:
    found = gather("clash", entry, WORLD)
    facts = Facts(process=Process("curl", "/usr/bin/curl", 1000))

    assert found.bad == []
    assert found.contents().match(flow(host, source), facts) is expected


def test_an_entry_that_nobody_can_answer_is_told() -> None:
    found = gather("clash", "GEOIP,CN\nIP-ASN,1\nGEOIP,china\nIP-ASN,x\nPROCESS-NAME,a/b\nUID,me")

    assert [entry.why for entry in found.bad] == [
        "needs a database of countries (geo.country)",
        "needs a database of networks (geo.asn)",
        "not the code of a country",
        "not the number of a network",
        "not the name of a program",
        "not the number of a user",
    ]


def test_a_sing_box_set_asks_the_kernel() -> None:
    text = '{"rules": [{"process_name": ["curl"], "process_path": "/opt/x"}]}'
    found = gather("sing-box", text)

    assert found.bad == []
    curl = Facts(process=Process("curl", "/opt/x"))
    assert found.contents().match(flow("h"), NO_FACTS) is Fact.PROCESS
    assert found.contents().match(flow("h"), curl) is True
    assert found.contents().match(flow("h"), Facts(process=Process("curl", "/x"))) is False
