"""Problems as a person reads them: the line with a caret, and many of one kind counted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from byway.config.read.tree import MAX_BYTES
from byway.errors import Problem
from byway.values.name import visible

MOST_ALIKE = 5  # problems of one kind that are shown in full
WIDTH = 100
_VARIES = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9]+")
_WORD = re.compile(r"""(?P<quoted>"[^"]*"?|'[^']*'?)|(?P<plain>[^\s{}\[\],:#"'][^{}\[\],#"'\s]*)""")


def problem_lines(problems: Sequence[Problem], excerpts: bool = True) -> Iterator[str]:
    """Each problem, the line that it is about, and its hint; of one kind only the first few."""
    sources: dict[str, list[str]] = {}
    more: dict[tuple[str, str], int] = {}
    for problem in problems:
        kind = (_VARIES.sub("_", problem.message), _VARIES.sub("_", problem.hint))
        more[kind] = more.get(kind, -MOST_ALIKE) + 1
        if more[kind] <= 0:
            first, *hint = str(problem).split("\n")
            yield first
            if excerpts:
                yield from excerpt(problem, _source(problem, sources))
            yield from hint
    for (message, _), count in more.items():
        if count > 0:
            yield f"and {count} more like: {message}"


def excerpt(problem: Problem, source: Sequence[str]) -> Iterator[str]:
    """The line with a caret below the fault. Of values only the one that the message itself names
    is shown, since any other may be a secret."""
    if not 0 < problem.line <= len(source):
        return
    line, at = source[problem.line - 1].rstrip("\r"), problem.column - 1
    if not line.strip() or at > WIDTH or at >= len(line):
        return

    text, end, column = "", 0, None
    for found in _WORD.finditer(line):
        text += line[end : found.start()]
        if column is None and at < found.end():
            column = len(text) + max(at - found.start(), 0) if at >= end else len(text)
        text += found[0] if _is_shown(found, line, at, problem.message) else "…"
        end = found.end()
    text = visible(text + line[end:])
    before = text[: len(text) - 1 if column is None else column]
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in before)
    yield f"  | {text[:WIDTH].rstrip()}"
    yield f"  | {' ' * (len(before) + wide)}^"


def _is_shown(word: re.Match[str], line: str, at: int, message: str) -> bool:
    """Whether it is a key, or the value that the message names in so many words."""
    if word[0] == "-" or word[0].endswith(":") or re.match(r"\s*:(\s|$)", line[word.end() :]):
        return True
    bare = word[0].strip("\"'")
    named = f"'{bare}'" in message or message.startswith(f"{bare} ")
    return word.start() <= at < word.end() and bool(bare) and named


def _source(problem: Problem, known: dict[str, list[str]]) -> list[str]:
    if problem.file not in known:
        try:
            with open(problem.file, encoding="utf-8-sig") as file:
                known[problem.file] = file.read(MAX_BYTES).split("\n")
        except (OSError, ValueError):
            known[problem.file] = []
    return known[problem.file]
