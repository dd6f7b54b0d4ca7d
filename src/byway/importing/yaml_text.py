"""Plain data as YAML that reads back as just that, in few lines for a person."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from byway.config.read.tree import resolve

_PLAIN = re.compile(
    r"[A-Za-z_/][A-Za-z0-9_./-]*(?::[0-9]+)?|[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:[/:][0-9]+)?"
)
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
_WIDTH = 100


def document(sections: Mapping[str, object], comments: Mapping[tuple[str, str], str]) -> str:
    """A config: a line for each entry where one is enough. `comments` stand behind entries."""
    lines: list[str] = []
    for name, content in sections.items():
        if lines:
            lines.append("")
        if isinstance(content, Mapping) and name not in _SHORT:
            lines.append(f"{name}:")
            for key, value in content.items():
                comment = comments.get((name, key), "")
                lines += _entry(f"  {_key(key)}:", value, comment, 4)
        elif isinstance(content, list):
            lines.append(f"{name}:")
            for item in content:
                lines += _entry("  -", item, "", 4)
        else:
            lines.append(f"{name}: {flow(content)}")
    return "\n".join(lines) + "\n"


def flow(value: object) -> str:
    """A value on one line."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return scalar(value)
        case Mapping():
            return "{" + ", ".join(f"{_key(key)}: {flow(v)}" for key, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
    raise TypeError(f"{type(value).__name__} is not allowed in a config")


def scalar(text: str) -> str:
    """A text, in quotes unless it is one for every reader of YAML."""
    if _PLAIN.fullmatch(text) and resolve(text) == text and text.lower() not in _WORDS:
        return text
    return _UNSAFE.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(text, ensure_ascii=False))


def commented(text: str) -> str:
    """A text as a comment: one line of what can be shown."""
    return "".join(c for c in text if c.isprintable())[:100].strip()


def _entry(head: str, value: object, comment: str, indent: int) -> Iterator[str]:
    note = f"  # {commented(comment)}" if comment else ""
    line = f"{head} {flow(value)}{note}"
    if len(line) <= _WIDTH or not isinstance(value, Mapping):
        yield line
        return
    pad = " " * indent
    if head.endswith("-"):
        first = True
        for key, item in value.items():
            yield f"{head if first else pad[:-1]} {_key(key)}: {flow(item)}"
            first = False
        return
    yield f"{head}{note}"
    for key, item in value.items():
        yield f"{pad}{_key(key)}: {flow(item)}"


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", text) else scalar(text)


_SHORT = {"log", "geo", "control"}
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}  # of YAML 1.1
