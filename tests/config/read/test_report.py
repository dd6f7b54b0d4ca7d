"""What `byway check` and `byway schema` say."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from byway.config import check_report
from byway.config.read.schema import schema, schema_text


def test_a_sound_file_is_summed_up(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(
        "rules:\n  - {port: 1, to: drop}\n  - {port: 1, to: drop}\n  - otherwise: direct\n"
    )

    report = check_report(file)

    assert report.ok
    assert report.human() == (
        f"{file}:3:5: rules[1]: warning: "
        "unreachable: the rule on line 2 matches everything that this one matches\n"
        f"{file} is valid: 1 inbound, 1 outbound, 3 rules"
    )
    assert json.loads(report.json())["warnings"][0]["line"] == 3


def test_a_wrong_file_is_reported_with_places(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("log: {levl: info}\n")

    report = check_report(file)

    assert not report.ok
    assert report.human().splitlines()[0] == f"{file}:1:7: log.levl: unknown key"
    assert report.human().splitlines()[-1] == f"1 error in {file}"
    assert json.loads(report.json()) == {
        "file": str(file),
        "ok": False,
        "problems": [
            {
                "file": str(file),
                "line": 1,
                "column": 7,
                "key": "log.levl",
                "message": "unknown key",
                "hint": "did you mean level? Known here: level, format, flows, file",
            }
        ],
        "warnings": [],
    }


def test_the_default_is_sound() -> None:
    assert check_report(None).human() == "(default) is valid: 1 inbound, 1 outbound, 0 rules"


@pytest.mark.parametrize(
    "wrong",
    [
        {"nope": 1},
        {"log": {"level": "loud"}},
        {"limits": {"dial": 10}},
        {"limits": {"udp_targets": 0}},
        {"inbounds": {}},
        {"inbounds": {"reject": {"type": "http", "listen": "unix:/x"}}},
        {"inbounds": {"a": {"type": "mixed"}}},
        {"outbounds": {"a": {"type": "direct", "server": "h:1"}}},
        {"outbounds": {"a": "direct"}},
        {"rules": [{"to": "direct"}]},
        {"rules": [{"port": 1, "otherwise": "direct"}]},
        {"rules": [{"port": None, "to": "direct"}]},
        {"rules": [{"domain": [], "to": "direct"}]},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(wrong: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema(), cls=jsonschema.Draft202012Validator)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate({"log": None, "rules": None}, json.loads(schema_text()))


def test_the_schema_says_what_each_key_is_for() -> None:
    definitions = schema()["$defs"]
    assert isinstance(definitions, dict)

    for name, definition in definitions.items():
        for key, part in definition["properties"].items():
            assert key == "type" or part["description"], f"{name}.{key}"
    assert definitions["HttpOutbound"]["properties"]["server"]["description"].startswith(
        "The proxy"
    )
