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
        ("{not: {}, to: direct}", "it has no condition"),
        ("{and: [{domain: a}, {}], to: direct}", "rules[0].and[1]: it has no condition"),
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
        ("{a: {type: inline, items: ['a b']}}", "sets.a.items[0]: 'a b' is not an entry of a set"),
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
    assert f"{tmp_path}/ads.txt:2:1: sets.ads: 'a b' is ignored: not a host name" in said
    assert "11 more entries are ignored" in said[-2]
    assert "the set is empty: its file cannot be read: no such file" in said[-1]
    assert report.config is not None
    opened = open_sets(report.config)
    assert not opened.sets["gone"].contents.complete
    assert len(opened.sets["ads"].contents) == 1


@pytest.mark.parametrize("form", ["lines", "clash", "hosts", "adblock", "sing-box"])
@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"SRS\x03\x78\xda", "format: srs"),
        (b"\x28\xb5\x2f\xfd\x04abc", "format: mrs"),
        (b"\n\xac\x01\n\x02CN\x12\x0f\x08\x02\x12\x0ba.example\x12\x08", "a binary file"),
        (b"\x7fELF\x02\x01\x01\0", "a program"),
        (b"MZ\x90\0", "a program"),
        (b"\x1f\x8b\x08abc", "unpack it"),
        ("\ufeffa.example\n".encode("utf-16-le"), "UTF-16"),
    ],
)
def test_a_binary_file_is_no_list(start: bytes, words: str, form: str, tmp_path: Path) -> None:
    for size in (1, 300_000):  # beyond what is read anew at each start, too
        list_, file = tmp_path / f"{size}.bin", tmp_path / "byway.yaml"
        list_.write_bytes(start + b"\x01\x02ab\n" * size)
        file.write_text(
            f"sets: {{s: {{path: '{list_}', format: {form}}}}}\n"
            "rules: [{set: s, to: reject}, {otherwise: direct}]\n"
        )

        report = check_report(file)

        (told,) = report.warnings
        assert told.message.startswith("the set is empty: it is ")
        assert words in told.message
        assert report.config is not None
        assert not open_sets(report.config, tmp_path / "cache").sets["s"].contents.complete


def test_a_text_with_a_slip_in_it_is_a_list(tmp_path: Path) -> None:
    for text in (b"MZ.example\n", b"SRS.example\nPK.example\n", "# 列表\na.example\n".encode()):
        (tmp_path / "a.txt").write_bytes(text + b"b.example\n" * 100 + b"c\x01.example\n")
        file = tmp_path / "byway.yaml"
        file.write_text(
            "sets: {s: {path: a.txt}}\nrules: [{set: s, to: reject}, {otherwise: direct}]\n"
        )
        (told,) = check_report(file).warnings
        assert "ignored: not a host name" in str(told)
