"""Rules and sets in a config: what is refused, and lists that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from byway.config import check_report, load_text, open_sets
from byway.errors import ConfigError


def problem(rules: str, sets: str = "{}") -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(f"sets: {sets}\nrules:\n  - {rules}\n  - otherwise: direct\n", "x.yaml")
    assert len(caught.value.problems) == 1, caught.value
    return str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{domain_keyword: 'a b', to: direct}", "cannot be a part of a host name"),
        ("{domain_wildcard: a.example, to: direct}", "has no * or ?"),
        ("{domain_wildcard: 'a/*', to: direct}", "not a pattern"),
        ("{domain_regex: '(a', to: direct}", "rules[0].domain_regex: '(a' is not a regex: missing"),
        ("{domain_regex: '(?=a)', to: direct}", "look-around"),
        ("{ip_version: 5, to: direct}", "expected 4 or 6"),
        ("{private: maybe, to: direct}", "expected true or false"),
        ("{time: never, to: direct}", "not a span of the week"),
        ("{process: /usr/bin/curl, to: direct}", "not the name of a program"),
        ("{process_path: curl, to: direct}", "not a path from the root"),
        ("{uid: ann, to: direct}", "expected the number of a user"),
        ("{set: adz, to: direct}", "there is no set 'adz'"),
        ("{enabled: false, to: direct}", "the rule has no condition"),
        ("{not: {}, to: direct}", "there is no condition in it"),
        ("{and: [{domain: a}, {}], to: direct}", "rules[0].and[1]: there is no condition in it"),
        ("{or: [{not: {domain: }}], to: direct}", "rules[0].or[0].not.domain: has no value"),
        ("{not: {user: bob}, to: direct}", "rules[0].not.user: there is no user 'bob'"),
        ("{or: {domain: a, to: direct}, to: direct}", "to: unknown key"),
        ("{or: [], to: direct}", "the list is empty"),
    ],
)
def test_a_bad_rule_is_told(rule: str, words: str) -> None:
    assert words in problem(rule)


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ("{a: {type: inline, items: ['a b']}}", "sets.a.items[0]: 'a b' is no entry of a set"),
        ("{a: {type: inline, items: []}}", "the list is empty"),
        ("{a: {type: file, path: x, format: csv}}", "cannot be 'csv'"),
        ("{a: {type: fil, path: x}}", "did you mean file?"),
        ("{a<b: {type: inline, items: x}}", "not a name for a set"),
    ],
)
def test_a_bad_set_is_told(sets: str, words: str) -> None:
    assert words in problem("{port: 1, to: direct}", sets)


def test_a_rule_is_shown_in_one_line() -> None:
    config = load_text(
        "rules: [{not: {or: [{port: 1}, {private: true}]}, to: direct}, {otherwise: direct}]"
    )

    assert config.rules[0].ref.text == "not: {or: [{port: 1}, {private: true}]}, to: direct"


def test_a_rule_that_is_off_shadows_nothing() -> None:
    config = load_text(
        "rules: [{port: 1, to: reject, enabled: false}, {port: 1, to: direct}, {otherwise: direct}]"
    )

    assert config.warnings == ()


def test_lists_are_read_and_what_is_bad_in_them_is_told(tmp_path: Path) -> None:
    (tmp_path / "ads.txt").write_text("ads.example\na b\n" + "?!\n" * 30)
    file = tmp_path / "byway.yaml"
    file.write_text(
        "sets:\n"
        "  ads: {type: file, path: ads.txt}\n"
        "  gone: {type: file, path: gone.txt}\n"
        "rules: [{set: [gone, ads], to: reject}, {otherwise: direct}]\n"
    )

    report = check_report(file)

    assert report.ok
    said = [str(one).splitlines()[0] for one in report.warnings]
    assert f"{tmp_path}/ads.txt:2:1: sets.ads: 'a b' is passed over: not a host name" in said
    assert "11 more entries are passed over" in said[-2]
    assert "the set is empty: its file cannot be read: no such file" in said[-1]
    assert report.config is not None
    opened = open_sets(report.config)
    assert not opened.sets["gone"].contents.complete
    assert len(opened.sets["ads"].contents) == 1
