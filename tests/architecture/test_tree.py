"""The tree in the READMEs is that of the sources, in the words of their docstrings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tree import READMES, sentence, shown, tree

LONGEST = 100


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_the_tree_is_whole(page: Path) -> None:
    assert shown(page) == tree(), "make tree (python tools/tree.py)"


@pytest.mark.parametrize("line", tree().splitlines(), ids=lambda line: line.split()[0])
def test_a_line_of_the_tree_fits(line: str) -> None:
    assert len(line) <= LONGEST, "the first sentence of its docstring is too long"
    assert len(line.split()) > 2 or line == "src/byway/"


def test_a_sentence_ends_at_its_period() -> None:
    assert sentence("One. Two.\n\nThree.") == "One"
    assert sentence("`router.py` and\nmore.") == "`router.py` and more"
    assert sentence("") == ""
