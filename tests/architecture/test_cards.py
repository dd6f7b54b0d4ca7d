"""What belongs to one protocol stands in its card and its wire: nobody else names it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from byway import dialects
from tests.architecture.test_sources import PACKAGE, PYTHON, relative

# Words of the field that are types of the config, too: they name no protocol by themselves.
OF_THE_FIELD = {"direct", "mixed", "forward", "http", "redirect", "tun", "dns"}
PLACES = ("dialects/", "protocols/")
# What may name one, and why.
MAY = {
    "engine/": "the typed face of what the engine does with bytes and packets",
    "streams/ciphers.py": "the pure double of the engine's ciphers, for tests of wires",
    "sealing.py": "what the engine must know of a cipher's first answer",
    "system/firewall/": "words of nftables itself",
    "lab/": "the demo's story is about protocols",
    "system/desktop.py": "the settings of desktops have a field for SOCKS",
    "cli/system_proxy.py": "so has the table of those settings",
    "config/read/foreign.py": "other programs' keys, by which their files are known",
    "config/read/kinds.py": "names of other programs, by which their files are told",
    "importing/": "names of other programs and of protocols that have no card yet",
}
SECTIONS = [
    section.__name__
    for name in dialects.TABLE
    for section in (dialects.card(name).inbound, dialects.card(name).outbound)
    if section is not None
]
ASKED = re.compile(rf"isinstance\([^)]*\b({'|'.join(SECTIONS)}|In|Out)\b")


def named(path: Path) -> Iterator[tuple[int, str]]:
    """Where a file's code (comments and docstrings aside) names a protocol."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    docs |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    words = re.compile("|".join(sorted(set(dialects.TABLE) - OF_THE_FIELD)), re.IGNORECASE)
    for node in ast.walk(tree):
        line, text = getattr(node, "lineno", 0), ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            text = node.value
        elif isinstance(node, ast.Name | ast.Attribute | ast.alias):
            text = ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            text = node.module or ""
        if words.search(text):
            yield line, text


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_no_protocol_is_named_outside_its_place(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    if place.startswith(PLACES) or any(place.startswith(one) for one in MAY):
        return
    found = [f"{place}:{line} {text[:60]}" for line, text in named(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_nobody_asks_which_section_it_is(path: Path) -> None:
    assert not ASKED.search(path.read_text(encoding="utf-8")), relative(path)


def test_what_may_name_one_is_still_there() -> None:
    for place in MAY:
        assert (PACKAGE / place).exists(), place
