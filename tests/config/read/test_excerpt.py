"""Problems with their line and a caret; secrets stay out; many of one kind are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from byway.config import check_report
from byway.config.read.excerpt import excerpt
from byway.errors import Problem


@pytest.mark.parametrize(
    ("line", "column", "message", "shown", "caret"),
    [
        ("    type: mixt", 11, "unknown type 'mixt'", "    type: mixt", 10),
        (
            "log: {level: loud, flow: true}",
            14,
            "cannot be 'loud'",
            "log: {level: loud, flow: …}",
            13,
        ),
        ("log: {level: loud, flow: true}", 20, "unknown key", "log: {level: …, flow: …}", 16),
        ("u: {password: geheim, x: 1}", 23, "unknown key", "u: {password: …, x: …}", 17),
        ("  password: 1234", 13, "expected text, got a number", "  password: …", 12),
        ("  password: a", 13, "expected a text", "  password: …", 12),
        ("a: ss://YTpi@h:1", 4, "the link no host", "a: …", 3),
        ('  - "ann:geheim"', 5, "wrong", "  - …", 4),
        ("香港: {typ: http}", 6, "unknown key", "香港: {typ: …}", 7),
        ("a: \x1b[31m", 1, "unknown key", "a: …[…", 0),
    ],
)
def test_a_line_with_its_caret(
    line: str, column: int, message: str, shown: str, caret: int
) -> None:
    problem = Problem("c.yaml", 1, column, "", message)
    text, mark = excerpt(problem, [line])
    assert text == f"  | {shown}"
    assert mark == f"  | {' ' * caret}^"


def test_what_has_no_line_has_no_excerpt() -> None:
    assert not list(excerpt(Problem("c.yaml", 0, 0, "", "x"), ["a"]))
    assert not list(excerpt(Problem("c.yaml", 9, 1, "", "x"), ["a"]))


def test_many_of_one_kind_are_counted(tmp_path: Path) -> None:
    rules = "".join(f"  - {{domain_sufix: a{n}.example, to: direct}}\n" for n in range(30))
    file = tmp_path / "c.yaml"
    file.write_text(f"log: {{level: loud}}\nrules:\n{rules}")
    told = check_report(file).human()
    assert told.count("domain_sufix: unknown key\n") == 5
    assert "and 25 more like: unknown key" in told
    assert "cannot be 'loud'\n  | log: {level: loud}\n  |              ^" in told
    assert "31 errors in" in told
