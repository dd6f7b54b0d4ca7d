"""Columns of a terminal, with characters that take two."""

from __future__ import annotations

import pytest

from byway.cli.columns import clipped, last, padded, width
from byway.cli.tables import member_lines

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", 0), ("abc", 3), ("节点", 4), ("é", 1), ("e\u0301", 1), ("🚀", 2), ("🇭🇰", 2),
        ("♻️", 2), ("♻", 1), (FAMILY, 2), ("👍🏽", 2), ("ｆ", 2), ("한국", 4), ("ไทย", 3), ("1️⃣", 2),
    ],
)  # fmt: skip
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns
    assert width(padded(text, 20)) == 20


@pytest.mark.parametrize(
    ("text", "columns", "start", "end"),
    [
        ("abcdef", 6, "abcdef", "abcdef"),
        ("abcdef", 4, "abc…", "…def"),
        ("节点选择", 8, "节点选择", "节点选择"),
        ("节点选择", 6, "节点…", "…选择"),
        ("节点选择", 5, "节点…", "…选择"),
        (f"{FAMILY}ab", 3, f"{FAMILY}…", "…ab"),
        ("节点", 1, "…", "…"),
    ],
)
def test_what_does_not_fit_is_cut_between_characters(
    text: str, columns: int, start: str, end: str
) -> None:
    assert clipped(text, columns) == start
    assert last(text, columns) == end
    assert width(start) <= columns


def test_a_table_stays_aligned() -> None:
    members = [
        {"name": name, "state": "well", "delay": 0.02, "failures": 0, "error": "", "back": 0}
        for name in ("plain", "🇭🇰 香港 01", "节点选择")
    ]
    lines = list(member_lines(members, "plain", ""))
    assert {width(line[: line.index("well")]) for line in lines} == {20}
