"""Every YAML example in the guide is a config, and the schema agrees with the loader."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest

from byway.config import Config, load_text
from byway.config.model import Limits, Log
from byway.config.read.schema import schema
from byway.config.read.tree import parse
from byway.config.rules.conditions import RuleEntry
from tests.facts import mmdb

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


@pytest.fixture(autouse=True)
def _files_of_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    country: mmdb.Value = {"country": {"iso_code": "DE"}}
    mmdb.write(tmp_path / "GeoLite2-Country.mmdb", {"192.0.2.0/24": country})
    mmdb.write(tmp_path / "GeoLite2-ASN.mmdb", {"192.0.2.0/24": {"asn": 64496}})
    (tmp_path / "my_rules.py").write_text("def decide(flow): ...")
    monkeypatch.chdir(tmp_path)


def examples() -> list[tuple[str, str]]:
    found = []
    for page in ("config.md", "rules.md", "limits.md", "groups.md", "names.md"):
        text = (GUIDE / page).read_text(encoding="utf-8")
        for at, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)):
            found.append((f"{page}-{at}", block))
    return found


@pytest.mark.parametrize(("name", "text"), examples())
def test_an_example_of_the_guide_loads(name: str, text: str) -> None:
    config = load_text(text, name)

    assert config.warnings == ()


@pytest.mark.parametrize(("name", "text"), examples())
def test_an_example_of_the_guide_fits_the_schema(name: str, text: str) -> None:
    root, _ = parse(text)
    assert root is not None

    jsonschema.validate(root.plain(), schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("section", [Log, Limits])
def test_the_guide_tells_every_default(section: type[Log] | type[Limits]) -> None:
    text = (GUIDE / "config.md").read_text(encoding="utf-8")

    for key, field in section.model_fields.items():
        default = field.default
        written = {True: "true", None: "null"}.get(default, str(default))
        assert re.search(rf"^\| `{key}` \| `?{re.escape(written)}`? \|", text, re.MULTILINE), key


def test_the_guide_names_every_key() -> None:
    pages = ("config.md", "rules.md", "limits.md", "groups.md", "names.md")
    text = "".join((GUIDE / page).read_text(encoding="utf-8") for page in pages)

    for definition in schema()["$defs"].values():  # type: ignore[attr-defined]
        for key in definition["properties"]:
            assert f"`{key}`" in text, key
    for section in Config.model_fields:
        assert f"## `{section}`" in text, section


def test_the_page_of_rules_has_an_example_of_every_key() -> None:
    asked: set[str] = set()
    for _, text in examples():
        for rule in load_text(text).rules:
            for part in rule.within():
                asked |= part.model_fields_set

    assert asked == set(RuleEntry.model_fields)
