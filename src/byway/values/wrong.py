"""The error of one value, and how much of a value an error may show."""

from __future__ import annotations

import re
from collections.abc import Sequence


class Wrong(ValueError):  # noqa: N818 - says of a value what it is, as Refused does of a flow
    """A value is not what it may be: what was wrong, what is allowed, and where inside.

    `key` leads from the thing that was read to the one at fault; `choices` are the known words,
    of which the nearest is suggested.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        key: tuple[str | int, ...] = (),
        choices: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.key = key
        self.choices = choices


def shown(text: str) -> str:
    """The text in quotes, shortened, on one line, and without what may be a user and password."""
    if "@" in text:
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text)
        text = (scheme[0] if scheme else "") + "***@" + text.rpartition("@")[2]
    if len(text) > 80:
        text = text[:77] + "..."
    return repr(text)


def kind_of(value: object) -> str:
    """The kind of a value, in a person's words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case _:
            return "a mapping"
