"""The JSON Schema of the config, for editors: made from the model, so it cannot lag behind.

It says what one value may be. What holds between the parts (names that exist, chains that end,
`otherwise` last) only `byway check` says.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Union, cast

from pydantic import Field, create_model

from byway import dialects
from byway.config.model import RESERVED, Config
from byway.config.read.links import SCHEMES
from byway.config.rules.conditions import ASKING
from byway.values.name import NAME_PATTERN
from byway.values.section import Section

Schema = dict[str, object]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NULL: Schema = {"type": "null"}


def schema() -> Schema:
    """The schema (draft 2020-12) as plain data."""
    made = cast(Schema, _without_null(_whole().model_json_schema()))
    sections = _part(made, "properties")
    definitions = _part(made, "$defs")
    _describe(made, definitions)
    _part(_part(definitions, "Log"), "properties")["file"] = _or_null(
        _part(_part(_part(definitions, "Log"), "properties"), "file")
    )
    for section in ("inbounds", "outbounds", "groups", "sets"):
        _part(sections, section)["propertyNames"] = {
            "pattern": NAME_PATTERN,
            "not": {"enum": list(RESERVED)},
        }
    outbounds = _part(sections, "outbounds")
    link: Schema = {"type": "string", "pattern": f"^({'|'.join(SCHEMES)})://"}
    outbounds["additionalProperties"] = {"anyOf": [outbounds["additionalProperties"], link]}
    _part(sections, "inbounds")["minProperties"] = 1
    kinds = _part(_part(sections, "sets"), "additionalProperties")
    del kinds["discriminator"]  # the type of a set is told by its other keys, too
    for name in ("InlineSet", "FileSet", "UrlSet"):
        cast("list[str]", _part(definitions, name)["required"]).remove("type")
    rule = _part(definitions, "RuleEntry")
    asked: list[Schema] = [{"required": [key]} for key in ASKING]
    rule["oneOf"] = [
        {
            "required": ["otherwise"],
            "properties": {"otherwise": True, "limit": True},
            "additionalProperties": False,
        },
        {"required": ["to"], "anyOf": asked},
        {"required": ["python"], "not": {"required": ["to"]}},
    ]
    _part(definitions, "Conditions")["anyOf"] = asked
    for name, section_schema in sections.items():
        sections[name] = _or_null(cast(Schema, section_schema))
    return {"$schema": DIALECT, **made, "title": "Byway's config"}


def _whole() -> type[Config]:
    """The config with every card's sections in it."""
    ways = {
        "inbounds": (dialects.entering(), dialects.inbound),
        "outbounds": (dialects.leaving(), dialects.outbound),
    }
    fields: dict[str, object] = {}
    for name, (words, section) in ways.items():
        # made at run time, which no type checker can follow
        kinds = Union.__getitem__(tuple(section(word) for word in words))
        entry = Annotated.__class_getitem__((kinds, Field(discriminator="type")))  # type: ignore[attr-defined]
        fields[name] = (dict.__class_getitem__((str, entry)), {})
    return cast("type[Config]", create_model("Config", __base__=Config, **fields))  # type: ignore[call-overload]


def schema_text() -> str:
    """The schema as `byway schema` prints it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False)


def _describe(made: Schema, definitions: Schema) -> None:
    """Give each key the text that stands below its field in the model."""
    texts: dict[type, dict[str, str]] = {}
    for name, part in [*definitions.items(), ("Config", made)]:
        for owner in _named(name).__mro__:
            if issubclass(owner, Section) and owner not in texts:
                tree = ast.parse(inspect.getsource(owner))
                texts[owner] = dict(_texts_below_fields(cast(ast.ClassDef, tree.body[0])))
            for key, text in texts.get(owner, {}).items():
                properties = _part(cast(Schema, part), "properties")
                if key in _named(name).model_fields:  # a section may do without one of its kind's
                    _part(properties, key.removesuffix("_"))["description"] = text


def _named(name: str) -> type[Section]:
    """A section by the name of its class."""
    return next(kind for kind in _below(Section) if kind.__name__ == name)


def _below(kind: type[Section]) -> Iterator[type[Section]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def _texts_below_fields(owner: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for one, below in pairwise(owner.body):
        match one, below:
            case (
                ast.AnnAssign(target=ast.Name(id=key)) as field,
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                if not ast.unparse(field.annotation).startswith("ClassVar"):
                    yield key, inspect.cleandoc(text)


def _part(schema: Schema, key: str) -> Schema:
    return cast(Schema, schema[key])


def _or_null(schema: Schema) -> Schema:
    outside = {key: value for key, value in schema.items() if key in ("description", "title")}
    inside = {key: value for key, value in schema.items() if key not in outside}
    return {"anyOf": [inside, dict(_NULL)], **outside}


def _without_null(value: object) -> object:
    """In Python a missing value is None; in a config the key is just left out."""
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _without_null(item) for key, item in value.items()}
    if "default" in found and found["default"] is None:
        del found["default"]
    choices = found.get("anyOf")
    if isinstance(choices, list) and _NULL in choices:
        left = [choice for choice in choices if choice != _NULL]
        if len(left) > 1:
            found["anyOf"] = left
        else:
            del found["anyOf"]
            found = {**left[0], **found}
    return found
