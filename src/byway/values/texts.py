"""The small texts of a config (durations, sizes, addresses, names): what each may be.

Each alias here is a type for the model: a reader that turns what a person wrote into a value, and
the JSON Schema of what may be written. A reader raises `Wrong`, whose message never repeats a
secret: what is shown of the input goes through `shown`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from byway.flow import Network, Target
from byway.values import hosts
from byway.values.prefix import Prefix
from byway.values.wrong import Wrong, kind_of, shown

JsonSchema = dict[str, object]

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class UnixPath:
    """A unix socket to listen on."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """Metadata for a type: read by this function, described by this JSON Schema."""

    read: Callable[[object], object]
    schema: JsonSchema

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        return dict(self.schema)


@dataclass(frozen=True, slots=True, eq=False)
class ReadsPath:
    """Like `Reads`, for texts with a path in them: relative ones count from the config's folder,
    which comes in the validation context as `folder`."""

    read: Callable[[object, str | None], object]
    schema: JsonSchema

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def read(value: object, info: ValidationInfo) -> object:
            return self.read(value, (info.context or {}).get("folder"))

        return core_schema.with_info_plain_validator_function(read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        return dict(self.schema)


@dataclass(frozen=True, slots=True)
class OneOrMany:
    """Metadata for a tuple: one thing may be written in place of a list of one."""

    empty: bool = False

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._listed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchema:
        array: JsonSchema = dict(handler(schema))
        if not self.empty:
            array["minItems"] = 1
        return {"anyOf": [array["items"], array]}

    def _listed(self, value: object) -> object:
        if not isinstance(value, list | tuple):
            return (value,)
        if not value and not self.empty:
            raise Wrong("the list is empty", "add at least one, or remove the key")
        return tuple(value)


def text_of(value: object) -> str:
    """The value when it is text, else Wrong (YAML reads 12 as a number, true as a flag)."""
    if isinstance(value, str):
        if _SURROGATE.search(value):  # bytes of the command line that are not UTF-8
            raise Wrong("the text is not UTF-8")
        return value
    hint = "write it in quotes" if isinstance(value, bool | int | float) else ""
    raise Wrong(f"expected text, got {kind_of(value)}", hint)


def _address(text: str) -> str:
    return hosts.address(text).host


def _domain(value: object) -> str:
    return _name(value, "domain_suffix: {0} matches {0} and every name below it")


def _suffix(value: object) -> str:
    return _name(value, "write {0}: it matches {0} itself and every name below it")


def _name(value: object, hint: str) -> str:
    """A host name; `hint` is for the wildcards that other programs write."""
    text = text_of(value)
    if text.startswith(("*.", ".", "+.")):
        name = hosts.name(text.lstrip("*+."))
        raise Wrong(f"{shown(text)} is not a name", hint.format(name))
    return hosts.name(text)


def _ports(value: object) -> tuple[int, int]:
    if isinstance(value, int) and not isinstance(value, bool):
        first = last = value
    else:
        text = value if isinstance(value, str) else ""
        found = re.fullmatch(r"([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?", text, re.ASCII)
        if not found:
            what = shown(text) if text else kind_of(value)
            raise Wrong(f"expected a port or a range, got {what}", "for example 443 or 8000-8100")
        first = int(found[1])
        last = int(found[2] or first)
    if not (0 <= first <= 65535 and 0 <= last <= 65535):
        raise Wrong(f"port {first if not 0 <= first <= 65535 else last} is not in 0..65535")
    if first > last:
        raise Wrong(f"the range {first}-{last} runs backwards", f"write {last}-{first}")
    return first, last


def _user_name(value: object) -> str:
    text = text_of(value)
    if not text:
        raise Wrong("the name is empty")
    if len(text.encode()) > 255:
        raise Wrong("the name is longer than 255 bytes")
    if any(c < " " or c == "\x7f" for c in text):
        raise Wrong("the name has a control character in it")
    return text


def _password(value: object) -> SecretStr:
    text = text_of(value)
    if not text:
        raise Wrong("the password is empty")
    if len(text.encode()) > 255:
        raise Wrong("the password is longer than 255 bytes")
    if any(c in text for c in "\0\r\n"):
        raise Wrong("the password has a line break or a zero character in it")
    return SecretStr(text)


def _listen(value: object, folder: str | None) -> Target | UnixPath:
    if isinstance(value, int) and not isinstance(value, bool):
        raise Wrong("expected address:port, got a number", f"for example 127.0.0.1:{value}")
    text = text_of(value)
    if not text.startswith("unix:"):
        return hosts.listen(text)
    path = text.removeprefix("unix:")
    if not path or path.endswith("/"):
        raise Wrong(f"{shown(text)} names no socket file", "for example unix:/run/byway.sock")
    if path.startswith("@") or "\0" in path:
        raise Wrong(f"{shown(text)}: abstract sockets are not supported", "give a path")
    path = hosts.placed(path, folder)
    if len(path.encode()) > 107:
        raise Wrong(f"the path of a unix socket has {len(path.encode())} bytes", "at most 107")
    return UnixPath(path)


def _file(value: object, folder: str | None) -> str:
    text = text_of(value)
    if not text or "\0" in text:
        raise Wrong("expected the path of a file")
    return hosts.placed(text, folder)


def _interface(value: object) -> str:
    text = text_of(value)
    if not 1 <= len(text.encode()) <= 15 or any(c <= " " or c in "/:" for c in text):
        raise Wrong(f"{shown(text)} is not the name of a network interface", "for example eth0")
    return text


def _prefix(value: object) -> Prefix:
    return hosts.prefix(text_of(value))


def _link_address(value: object) -> str:
    import ipaddress

    text = text_of(value)
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        found = None
    if found is None or "/" not in text or found.is_multicast or found.is_unspecified:
        raise Wrong(f"{shown(text)} is not an address with a length, such as 10.7.0.1/24")
    return str(found)


def _network(value: object) -> Network:
    text = text_of(value)
    try:
        return Network(text)
    except ValueError:
        raise Wrong(
            f"unknown network {shown(text)}", "tcp or udp", choices=("tcp", "udp")
        ) from None


def _alpn(value: object) -> str:
    text = text_of(value)
    if not 1 <= len(text.encode()) <= 255:
        raise Wrong("a protocol of ALPN has 1 to 255 bytes", "for example h2, http/1.1")
    return text


def _pin(value: object) -> str:
    """A SHA-256 in lower-case hex."""
    text = text_of(value).strip()
    bare = text.removeprefix("sha256/").removeprefix("sha256:").replace(":", "")
    if re.fullmatch(r"[0-9A-Fa-f]{64}", bare):
        return bare.lower()
    try:
        found = base64.b64decode(bare, validate=True)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise Wrong(f"{shown(text)} is not a SHA-256", "64 hex digits, or 44 characters of base64")
    return found.hex()


def _way(value: object) -> str:
    text = text_of(value)
    if not text:
        raise Wrong("expected the name of an outbound, got nothing")
    return text


def _auto_flag(value: object) -> bool | None:
    if value == "auto":
        return None
    if isinstance(value, bool):
        return value
    raise Wrong(f"expected auto, true or false, got {shown_value(value)}")


def _auto_number(value: object) -> int | None:
    if value == "auto":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if 1 <= value <= 10_000_000:
            return value
        raise Wrong(f"{value} is out of bounds", "auto, or 1 to 10000000")
    raise Wrong(f"expected auto or a number, got {shown_value(value)}")


def shown_value(value: object) -> str:
    """A short scalar as it was written, else its kind."""
    return shown(value) if isinstance(value, str) else kind_of(value)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """Read `500ms`, `10s`, `1.5m`, `1h`, `1d`. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)", text, re.ASCII)
    if not found:
        raise ValueError(text)
    return float(found[1]) * _UNITS[found[2]]


def duration(low: str, high: str, *, off: float | None = None) -> Reads:
    """Metadata for a float of seconds within bounds; `off` is what the word off stands for."""

    def read(value: object) -> float:
        if off is not None and (value is False or value == "off"):  # YAML 1.1 reads off as false
            return off
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise Wrong("a duration needs its unit", f"for example {value}s, or {value}ms")
        text = text_of(value)
        try:
            found = seconds(text)
        except ValueError:
            raise Wrong(
                f"{shown(text)} is not a duration", "for example 500ms, 10s, 5m, 1h"
            ) from None
        if not seconds(low) <= found <= seconds(high):
            raise Wrong(f"{shown(text)} is out of bounds", f"{low} to {high}")
        return found

    schema: JsonSchema = {
        "type": "string",
        "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d)$",
        "examples": [low, high],
    }
    if off is not None:
        schema = {"anyOf": [{"const": "off"}, schema]}
    return Reads(read, schema)


_SIZES = {
    "B": 1, "KB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2, "GB": 1000**3, "GiB": 1024**3,
    "TB": 1000**4, "TiB": 1024**4,
}  # fmt: skip
_SIZE = rf"[0-9]{{1,12}}({'|'.join(_SIZES)})"


def size(low: str, high: str) -> Reads:
    """Metadata for an int of bytes within bounds."""

    def count(text: str) -> int:
        found = re.fullmatch(_SIZE, text, re.ASCII)
        if not found:
            raise ValueError(text)
        return int(text.removesuffix(found[1])) * _SIZES[found[1]]

    def read(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            raise Wrong("a size needs its unit", f"for example {value}B")
        text = text_of(value)
        try:
            found = count(text)
        except ValueError:
            raise Wrong(f"{shown(text)} is not a size", "for example 512B, 64KiB, 1MiB") from None
        if not count(low) <= found <= count(high):
            raise Wrong(f"{shown(text)} is out of bounds", f"{low} to {high}")
        return found

    schema: JsonSchema = {
        "type": "string",
        "pattern": f"^{_SIZE}$",
        "examples": [low, high],
    }
    return Reads(read, schema)


_RATES: dict[str, float] = {
    **{f"{unit}/s": float(count) for unit, count in _SIZES.items() if count <= 1024**3},
    **{f"{unit}bit/s": 1000**power / 8 for power, unit in enumerate(("", "k", "M", "G"))},
}
_RATE = rf"[0-9]{{1,12}}(?:\.[0-9]{{1,6}})?({'|'.join(_RATES)})"


def rate(low: str, high: str) -> Reads:
    """Metadata for an int of bytes per second within bounds."""

    def count(text: str) -> int:
        found = re.fullmatch(_RATE, text, re.ASCII)
        if not found:
            raise ValueError(text)
        return round(float(text.removesuffix(found[1])) * _RATES[found[1]])

    def read(value: object) -> int:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise Wrong("a rate needs its unit", f"for example {value}MB/s, or {value}Mbit/s")
        text = text_of(value)
        try:
            found = count(text)
        except ValueError:
            hint = "for example 500KB/s, 1.5MB/s, 8Mbit/s"
            raise Wrong(f"{shown(text)} is not a rate", hint) from None
        if not count(low) <= found <= count(high):
            raise Wrong(f"{shown(text)} is out of bounds", f"{low} to {high}")
        return found

    schema: JsonSchema = {
        "type": "string",
        "pattern": f"^{_RATE}$",
        "examples": [low, high],
    }
    return Reads(read, schema)


def text_schema(example: str, **more: object) -> JsonSchema:
    """The JSON Schema of a text that is not empty."""
    return {"type": "string", "minLength": 1, "examples": [example], **more}


_PORT_SCHEMA: JsonSchema = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 65535},
        {"type": "string", "pattern": "^[0-9]+( *- *[0-9]+)?$", "examples": ["8000-8100"]},
    ]
}
_AUTO_NUMBER: JsonSchema = {
    "anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": 10_000_000}]
}

Many = OneOrMany()
Domain = Annotated[str, Reads(_domain, text_schema("www.example.com"))]
Suffix = Annotated[str, Reads(_suffix, text_schema("example.com"))]
PrefixText = Annotated[Prefix, Reads(_prefix, text_schema("10.0.0.0/8"))]
LinkAddress = Annotated[str, Reads(_link_address, text_schema("10.7.0.1/24"))]
Ports = Annotated[tuple[int, int], Reads(_ports, _PORT_SCHEMA)]
NetworkName = Annotated[Network, Reads(_network, {"enum": ["tcp", "udp"]})]
UserName = Annotated[str, Reads(_user_name, text_schema("ann", maxLength=255))]
Password = Annotated[
    SecretStr,
    Reads(_password, {"type": "string", "minLength": 1, "maxLength": 255, "format": "password"}),
]
InboundName = Annotated[str, Reads(_way, text_schema("home"))]
Way = Annotated[str, Reads(_way, text_schema("direct"))]
ListenAddress = Annotated[Target | UnixPath, ReadsPath(_listen, text_schema("127.0.0.1:1080"))]
HostPort = Annotated[
    Target, Reads(lambda value: hosts.host_port(text_of(value)), text_schema("proxy.example:1080"))
]
HostAddress = Annotated[
    str, Reads(lambda value: _address(text_of(value)), text_schema("192.0.2.5"))
]
Interface = Annotated[str, Reads(_interface, text_schema("eth0", maxLength=15))]
FilePath = Annotated[str, ReadsPath(_file, text_schema("byway.log"))]
ServerName = Annotated[
    str, Reads(lambda value: hosts.name(text_of(value)), text_schema("www.example.com"))
]
Alpn = Annotated[str, Reads(_alpn, text_schema("h2", maxLength=255))]
Pin = Annotated[str, Reads(_pin, text_schema("sha256/base64"))]
AutoFlag = Annotated[
    bool | None, Reads(_auto_flag, {"anyOf": [{"const": "auto"}, {"type": "boolean"}]})
]
AutoNumber = Annotated[int | None, Reads(_auto_number, _AUTO_NUMBER)]


def is_loopback(address: Target) -> bool:
    """Whether only this host can reach an address (127.0.0.0/8 or ::1)."""
    packed = address.packed
    if packed is None:
        return False
    return packed[0] == 127 if len(packed) == 4 else packed == bytes(15) + b"\x01"
