"""A section that its own `type` names, out of a table: how `transport:` and `mux:` are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from byway.values.problems import nearest
from byway.values.section import Section, keys_of
from byway.values.texts import JsonSchema
from byway.values.wrong import Wrong, kind_of, shown


class ByType:
    """Metadata for such a section. `table` is looked at when a config is read, so that what was
    added to it counts; `load` gives the section of one of its words."""

    def __init__(
        self, what: str, table: Mapping[str, str], load: Callable[[str], type[Section] | None]
    ) -> None:
        self._what = what
        self._table = table
        self._load = load

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        found = [self._load(name) for name in self._table]
        kinds = [section.model_json_schema() for section in found if section is not None]
        return {"anyOf": kinds} if kinds else {"not": {}}

    def _read(self, value: object, info: ValidationInfo) -> Section:
        known = tuple(self._table)
        if not isinstance(value, Mapping):
            raise Wrong(f"expected a mapping, got {kind_of(value)}", "{type: ..., ...}")
        word = value.get("type")
        if not isinstance(word, str):
            raise Wrong("type is missing", f"one of {', '.join(known) or 'none yet'}")
        section = self._load(word) if word in known else None
        if section is None:
            hint = f"known here: {', '.join(known) or 'none yet'}"
            raise Wrong(f"unknown {self._what} {shown(word)}", hint, ("type",), known)
        try:
            return section.model_validate(dict(value), context=info.context)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                if details["type"] == "extra_forbidden":
                    key = str(details["loc"][-1])
                    keys = keys_of(section)
                    near = nearest(key, keys)
                    hint = f"did you mean {near}? " if near else ""
                    raise Wrong(
                        "unknown key", f"{hint}known here: {', '.join(keys)}", (key,)
                    ) from None
            raise
