"""The docs keep up: a page for each dialect and way, a word for each config key, no dead link."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

import pytest

from byway import dialects
from byway.config.read.schema import schema

ROOT = Path(__file__).parents[2]
DOCS, TESTS = ROOT / "docs", ROOT / "tests"
PAGES = [
    ROOT / name for name in ("README.md", "README.zh-CN.md", "CHANGELOG.md", "CONTRIBUTING.md")
]
PAGES += sorted(DOCS.rglob("*.md"))

# Modules of protocols/ that are parts of dialects and none themselves.
PARTS = {
    "__init__",
    "address",
    "credentials",
    "http_client",
    "http_forward",
    "replay",
    "web_address",
}

Schema = dict[str, object]


def _definitions() -> dict[str, Schema]:
    return cast(dict[str, Schema], schema()["$defs"])


def missing_pages(name: str) -> Iterator[str]:
    """The pages that a protocol in the table of cards lacks."""
    line = dialects.TABLE[name]
    for ends, folder in ((line.enters, "inbounds"), (line.leaves, "outbounds")):
        if ends and not (DOCS / folder / f"{name}.md").is_file():
            yield f"docs/{folder}/{name}.md"


def _keys() -> Iterator[tuple[str, str]]:
    sections = {"Config": schema(), **_definitions()}
    for section, definition in sections.items():
        for key in cast(dict[str, Schema], definition.get("properties", {})):
            yield section, key


@pytest.mark.parametrize("name", dialects.TABLE)
def test_each_card_has_its_pages(name: str) -> None:
    assert not list(missing_pages(name))


@pytest.mark.parametrize("name", dialects.TABLE)
def test_each_protocol_has_its_tests(name: str) -> None:
    """Vectors, a fuzz target and a real peer; what speaks no protocol of its own needs none."""
    if (ROOT / "src" / "byway" / "protocols" / f"{name}.py").is_file():
        assert (TESTS / "protocols" / f"test_{name}.py").is_file()
        assert (TESTS / "fuzz" / f"fuzz_{name}.py").is_file()
        assert (DOCS / "protocols" / f"{name}.md").is_file()
        peers = (TESTS / "interop").glob("*.py")
        assert any(name in path.read_text(encoding="utf-8") for path in peers)


@pytest.mark.parametrize("name", dialects.TABLE)
def test_the_line_of_a_card_is_true(name: str) -> None:
    line, card = dialects.TABLE[name], dialects.card(name)
    assert (card.inbound is not None, card.outbound is not None) == (line.enters, line.leaves)
    assert tuple(card.links) == line.schemes
    for section in filter(None, (card.inbound, card.outbound)):
        assert get_args(section.model_fields["type"].annotation) == (name,)


def test_each_protocol_has_a_page() -> None:
    for path in sorted((ROOT / "src" / "byway" / "protocols").glob("*.py")):
        # Editions of one protocol (shadowsocks, shadowsocks2022) may share a page.
        names = {path.stem, path.stem.rstrip("0123456789")}
        if path.stem not in PARTS:
            pages = [DOCS / "protocols" / f"{name}.md" for name in names]
            assert any(page.is_file() for page in pages), f"docs/protocols/{path.stem}.md"


def test_every_config_key_is_told_of() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    untold = [f"{section}.{key}" for section, key in _keys() if not re.search(rf"\b{key}\b", text)]
    assert not untold


@pytest.mark.parametrize("page", ["glossary.md", "guide/config.md"])
def test_the_pages_everyone_needs_are_there(page: str) -> None:
    assert (DOCS / page).is_file()


def test_decisions_are_recorded() -> None:
    numbers = [path.name[:4] for path in (DOCS / "decisions").glob("*.md")]
    assert sorted(numbers) == [f"{at:04}" for at in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", link):
            there = page.parent / link.partition("#")[0]
            assert there.exists(), f"{page.relative_to(ROOT)}: {link}"


def test_the_readme_names_the_verbs() -> None:
    for readme in (ROOT / "README.md", ROOT / "README.zh-CN.md"):
        text = readme.read_text(encoding="utf-8")
        for verb in ("make demo", "make test", "make run"):
            assert verb in text, f"{readme.name}: {verb}"
