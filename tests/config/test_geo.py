"""The files of `geo`: checked with the config, asked by rules and lists, read again on reload."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from byway.config import changes, judge_of, load_text
from byway.errors import ConfigError
from byway.flow import Flow, Network, Target
from byway.rules import Fact, Facts, Lacks
from tests.facts import mmdb

COUNTRY: mmdb.Value = {"country": {"iso_code": "DE"}}
SYSTEM: mmdb.Value = {"autonomous_system_number": 13335}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mmdb.write(tmp_path / "country.mmdb", {"192.0.2.0/24": COUNTRY})
    mmdb.write(tmp_path / "asn.mmdb", {"192.0.2.0/24": SYSTEM}, kind="Test-ASN")
    (tmp_path / "list").write_text("GEOIP,DE,no-resolve\n")
    return tmp_path


def flow(host: str, source: str = "192.0.2.1") -> Flow:
    return Flow(1, Network.TCP, "mixed", Target.of(source, 5), Target.of(host, 443))


def wrong(text: str, folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "x.yaml", str(folder))
    return [f"{one.line}:{one.column} {one.key}: {one.message}" for one in caught.value.problems]


@pytest.mark.parametrize(
    "condition",
    ["country: [fr, de]", "asn: 13335", "asn: AS13335", "source_country: DE", "source_asn: 13335"],
)
def test_a_rule_asks_where_an_address_is(folder: Path, condition: str) -> None:
    text = (
        "geo: {country: country.mmdb, asn: asn.mmdb}\n"
        f"rules: [{{{condition}, to: reject}}, {{otherwise: direct}}]"
    )
    judge = judge_of(load_text(text, "x.yaml", str(folder)))

    explained = judge.explain(flow("192.0.2.7"))

    assert explained.answer == judge.decide(flow("192.0.2.7")) == judge.rules[0].verdict
    (tried,) = explained.tried
    assert tried.checks[0].condition == condition.partition(":")[0]
    assert tried.checks[0].found.startswith("192.0.2.")
    beyond = flow("203.0.113.1", "203.0.113.1")
    assert judge.decide(beyond) == judge.rules[1].verdict
    assert judge.explain(beyond).tried[0].checks[0].asked == "203.0.113.1 (nowhere known)"


def test_a_name_is_resolved_first(folder: Path) -> None:
    text = "geo: {country: country.mmdb}\nrules: [{country: DE, to: reject}, {otherwise: direct}]"
    judge = judge_of(load_text(text, "x.yaml", str(folder)))
    found = Facts(addresses=(bytes([192, 0, 2, 1]), bytes(4)))

    assert judge.decide(flow("a.example")) == Lacks(Fact.ADDRESS)
    (tried,) = judge.explain(flow("a.example"), found).tried
    assert tried.checks[0].found == "192.0.2.1 (DE), 0.0.0.0 (nowhere known)"


def test_a_list_asks_too(folder: Path) -> None:
    text = (
        "geo: {country: country.mmdb}\nsets: {a: {type: file, path: list, format: clash}}\n"
        "rules: [{set: a, to: reject}, {otherwise: direct}]"
    )
    judge = judge_of(load_text(text, "x.yaml", str(folder)))

    assert judge.decide(flow("192.0.2.1")) == judge.rules[0].verdict


def test_a_file_that_cannot_be_used_is_an_error_with_its_place(folder: Path) -> None:
    (folder / "text").write_text("hello")

    assert wrong("geo: {country: none.mmdb}", folder) == [
        "1:16 geo.country: cannot be read: no such file or directory"
    ]
    assert wrong("geo:\n  country: text", folder) == [
        "2:12 geo.country: is not a MaxMind DB file (.mmdb), or a damaged one"
    ]
    assert wrong("geo: {country: asn.mmdb, asn: country.mmdb}", folder) == [
        "1:16 geo.country: holds no countries; it is of the kind 'Test-ASN'",
        "1:31 geo.asn: holds no autonomous systems; it is of the kind 'Test-Country'",
    ]


def test_a_rule_needs_the_file_that_it_asks(folder: Path) -> None:
    text = """\
geo: {country: country.mmdb}
rules:
  - {country: DE, or: [{asn: 1}, {source_asn: 1}], to: reject}
  - {country: private, to: reject}
  - {country: Germany, asn: 0, to: reject}
  - otherwise: direct
"""
    assert wrong(text, folder) == [
        "3:25 rules[0].or[0].asn: there is no geo.asn",
        "3:35 rules[0].or[1].source_asn: there is no geo.asn",
        "4:15 rules[1].country: private is not a country",
        "5:15 rules[2].country: 'Germany' is not the code of a country",
        "5:24 rules[2].asn: there is no geo.asn",
        "5:29 rules[2].asn: expected the number of a network, got a number",
    ]


def test_a_changed_file_is_read_again_and_told(folder: Path) -> None:
    text = "geo: {country: country.mmdb}\nrules: [{country: US, to: reject}, {otherwise: direct}]"
    before = load_text(text, "x.yaml", str(folder))
    path = folder / "country.mmdb"
    mmdb.write(path, {"192.0.2.0/24": {"country": {"iso_code": "US"}}})
    os.utime(path, (1, 1))
    after = load_text(text, "x.yaml", str(folder))

    assert changes(before, after) == ("~ geo.country: the file has changed",)
    assert changes(after, after) == ()
    assert judge_of(before).decide(flow("192.0.2.1")) == judge_of(before).rules[1].verdict
    assert judge_of(after).decide(flow("192.0.2.1")) == judge_of(after).rules[0].verdict
