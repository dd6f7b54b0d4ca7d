"""The base of every section of the config."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the config: frozen, strict, no unknown keys, no input in its errors.

    What a field is for stands in the text below it; `schema.py` reads it there, since having
    pydantic collect these texts would cost every start.
    """

    model_config = ConfigDict(
        defer_build=True,  # a start pays only for the sections that its file has
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
    )


def keys_of(model: type[Section]) -> tuple[str, ...]:
    """The keys that a person may write in it."""
    return tuple(field.alias or name for name, field in model.model_fields.items())
