"""Every direct dependency has its line, with licence and reason, in the record of dependencies."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "decisions" / "0009-dependencies.md"
GROUPS = ("dependencies", "dev-dependencies", "build-dependencies")


def crates() -> set[str]:
    """What our own crates ask for by name."""
    found: set[str] = set()
    for manifest in sorted((ROOT / "rust").glob("*/Cargo.toml")):
        tables = tomllib.loads(manifest.read_text(encoding="utf-8"))
        for group in GROUPS:
            found |= set(tables.get(group, {}))
    return {name for name in found if not name.startswith("byway")}


def packages() -> set[str]:
    """What the Python package asks for, development included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return {re.split(r"[\[<>=~! ]", one, maxsplit=1)[0] for one in asked}


@pytest.mark.parametrize("name", sorted(crates() | packages()))
def test_a_dependency_is_accounted_for(name: str) -> None:
    lines = [
        line
        for line in RECORD.read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", line)
    ]
    assert lines or name.startswith("types-"), f"{name} needs a line in {RECORD.name}"
