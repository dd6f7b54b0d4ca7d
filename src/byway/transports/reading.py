"""How `transport:` is read: the section that its `type` names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from byway import transports
from byway.transports.card import Transport
from byway.values.problems import nearest
from byway.values.section import keys_of
from byway.values.texts import JsonSchema
from byway.values.wrong import Wrong, kind_of, shown


class _Reads:
    """Metadata for a transport: read by its type, from the table as it is at that moment."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(_read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        kinds = [transports.transport(name).model_json_schema() for name in transports.TABLE]
        return {"anyOf": kinds} if kinds else {"not": {}}


def _read(value: object, info: ValidationInfo) -> Transport:
    known = tuple(transports.TABLE)
    if not isinstance(value, Mapping):
        raise Wrong(f"expected a mapping, got {kind_of(value)}", "{type: ..., ...}")
    word = value.get("type")
    if not isinstance(word, str):
        raise Wrong("type is missing", f"one of {', '.join(known) or 'none yet'}")
    if word not in known:
        hint = f"known here: {', '.join(known) or 'none yet'}"
        raise Wrong(f"unknown transport {shown(word)}", hint, ("type",), known)
    section = transports.transport(word)
    try:
        return section.model_validate(dict(value), context=info.context)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            if details["type"] == "extra_forbidden":
                keys = keys_of(section)
                near = nearest(str(details["loc"][-1]), keys)
                hint = f"did you mean {near}? " if near else ""
                raise Wrong(
                    "unknown key",
                    f"{hint}known here: {', '.join(keys)}",
                    (str(details["loc"][-1]),),
                ) from None
        raise


TransportSection = Annotated[Transport, _Reads()]
