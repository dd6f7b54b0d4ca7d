"""The texts of a rule's conditions beyond names and prefixes: keywords, patterns, versions, times.

As in `values.py`, each alias is a type for the model, and its reader raises `Wrong`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Annotated

from byway.flow import PROTOCOLS
from byway.protocols.web_address import WebAddress
from byway.rules.moments import Span
from byway.rules.names import check_regex
from byway.values.texts import JsonSchema, Reads, ReadsPath, shown_value, text_of
from byway.values.wrong import Wrong, shown

_NAME_PART = re.compile(r"[a-z0-9_.-]{1,253}")
_NAME_PATTERN = re.compile(r"[a-z0-9_.*?-]{1,253}")


def _keyword(value: object) -> str:
    text = text_of(value).lower()
    if not _NAME_PART.fullmatch(text):
        hint = "letters, digits, dots, - and _; other scripts as punycode (xn--...)"
        raise Wrong(f"{shown(text)} cannot be a part of a host name", hint)
    return text


def _wildcard(value: object) -> str:
    text = text_of(value).lower().removesuffix(".")
    if not _NAME_PATTERN.fullmatch(text):
        hint = "letters, digits, dots, - and _, with * and ?"
        raise Wrong(f"{shown(text)} is not a pattern for host names", hint)
    if "*" not in text and "?" not in text:
        raise Wrong(f"{shown(text)} has no * or ? in it", f"domain: {text}")
    return text


def _regex(value: object) -> str:
    text = text_of(value)
    if not text:
        raise Wrong("the regex is empty")
    try:
        check_regex(text)
    except ValueError as error:
        hint = "the syntax of RE2, which has no look-around and no back-references"
        raise Wrong(f"{shown(text)} is not a regex: {error}", hint) from None
    return text


def _version(value: object) -> int:
    if value in (4, 6) and not isinstance(value, bool):
        return 4 if value == 4 else 16
    raise Wrong(f"expected 4 or 6, got {shown_value(value)}")


def _country(value: object) -> str:
    text = text_of(value)
    if text.lower() == "private":
        raise Wrong("private is not a country", "private: true")
    if not re.fullmatch("[A-Za-z]{2}", text):
        raise Wrong(f"{shown(text)} is not the code of a country", "two letters, for example DE")
    return text.upper()


def _system(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**32:
        return value
    if isinstance(value, str) and (found := re.fullmatch("(?:AS|as)([1-9][0-9]{0,9})", value)):
        return _system(int(found[1]))
    raise Wrong(f"expected the number of a network, got {shown_value(value)}", "for example 13335")


def _protocol(value: object) -> str:
    text = text_of(value).lower()
    if text not in PROTOCOLS:
        known = f"known here: {', '.join(PROTOCOLS)}"
        raise Wrong(f"unknown protocol {shown(text)}", known, choices=PROTOCOLS)
    return text


def _span(value: object) -> Span:
    text = text_of(value)
    try:
        return Span.parse(text)
    except ValueError as error:
        hint = "for example mon-fri 09:00-17:30, sat,sun or 22:00-06:00"
        raise Wrong(f"{shown(text)} is not a span of the week: {error}", hint) from None


@dataclass(frozen=True, slots=True)
class PythonPlace:
    """A function in a file: the file as it was written, and where it is."""

    file: str
    path: str
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.function}"


def _python(value: object, folder: str | None) -> PythonPlace:
    file, colon, function = text_of(value).rpartition(":")
    if not colon or not file or "\0" in file or not function.isidentifier():
        raise Wrong(f"{shown_value(value)} names no function", "for example my_rules.py:decide")
    path = os.path.expanduser(file)
    return PythonPlace(file, os.path.join(folder, path) if folder else path, function)


def _program(value: object) -> str:
    text = text_of(value)
    if not text or "/" in text or "\0" in text:
        hint = "the name of its file, for example curl; use process_path for a path"
        raise Wrong(f"{shown(text)} is not the name of a program", hint)
    return text


def _command(value: object) -> str:
    text = text_of(value)
    if not text or "\0" in text:
        raise Wrong("expected a part of a command line", "its arguments have a space between them")
    return text


def _absolute(value: object) -> str:
    text = text_of(value)
    if not text.startswith("/") or "\0" in text:
        raise Wrong(f"{shown(text)} is not a path from the root", "for example /usr/bin/curl")
    return text


def _uid(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**32:
        return value
    raise Wrong(f"expected the number of a user, got {shown_value(value)}", "as `id -u` says")


def _mac(value: object) -> str:
    text = text_of(value).lower().replace("-", ":")
    if not re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
        hint = "six pairs of hex digits, for example 02:42:ac:11:00:02"
        raise Wrong(f"{shown_value(value)} is not a MAC address", hint)
    return text


def _set_name(value: object) -> str:
    text = text_of(value)
    if not text:
        raise Wrong("expected the name of a set, got nothing")
    return text


def _set_item(value: object) -> str:
    text = text_of(value)
    if not text or "\n" in text:
        raise Wrong(f"{shown(text)} is not an entry of a set: expected one entry")
    return text


def _web_place(value: object) -> WebAddress:
    text = text_of(value)
    try:
        return WebAddress.parse(text)
    except (ValueError, UnicodeError) as error:
        raise Wrong(
            f"not a web address: {error}", "for example https://example.com/ads.txt"
        ) from None


def _part(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_!.-]*(@[a-z0-9!_-]+)*", value):
        raise Wrong(f"{shown(str(value))} is not the name of a list, such as cn or google@ads")
    if not value:
        raise Wrong("the name of a list cannot be empty")
    return value


def _text(example: str, **more: str) -> JsonSchema:
    return {"type": "string", "minLength": 1, "examples": [example], **more}


_SYSTEM_SCHEMA: JsonSchema = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 2**32 - 1},
        {"type": "string", "pattern": "^(AS|as)[1-9][0-9]{0,9}$"},
    ],
    "examples": [13335],
}


DomainKeyword = Annotated[str, Reads(_keyword, _text("track"))]
DomainWildcard = Annotated[str, Reads(_wildcard, _text("cdn?.*.example.com"))]
DomainRegex = Annotated[str, Reads(_regex, _text(r"^ads?[0-9]*\."))]
AddressSize = Annotated[int, Reads(_version, {"enum": [4, 6]})]
ProgramName = Annotated[str, Reads(_program, _text("curl"))]
ProgramPath = Annotated[str, Reads(_absolute, _text("/usr/bin/curl"))]
CommandText = Annotated[str, Reads(_command, _text("--profile work"))]
GroupPath = Annotated[str, Reads(_absolute, _text("/system.slice/backup.service"))]
PythonName = Annotated[PythonPlace, ReadsPath(_python, _text("my_rules.py:decide"))]
CountryCode = Annotated[str, Reads(_country, _text("DE", pattern="^[A-Za-z]{2}$"))]
SystemNumber = Annotated[int, Reads(_system, _SYSTEM_SCHEMA)]
SniffedProtocolName = Annotated[str, Reads(_protocol, {"enum": list(PROTOCOLS)})]
MacAddress = Annotated[str, Reads(_mac, _text("02:42:ac:11:00:02"))]
UserNumber = Annotated[int, Reads(_uid, {"type": "integer", "minimum": 0})]
WeekSpan = Annotated[Span, Reads(_span, _text("mon-fri 09:00-17:30"))]
SetName = Annotated[str, Reads(_set_name, _text("ads"))]
WebPlace = Annotated[WebAddress, Reads(_web_place, _text("https://example.com/ads.txt"))]
Part = Annotated[str, Reads(_part, _text("cn"))]
SetItem = Annotated[str, Reads(_set_item, _text("example.com"))]
