"""HTTP/1.1 as the control interface speaks it (RFC 9112): small requests, JSON or line answers.

Pure: bytes and values. A request with a body needs a length; chunks are refused.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from byway.protocols.http import HeadError, parse_request

HEAD_LIMIT = 16 * 1024
"""Bytes of a request's head: our own clients send some hundred."""

BODY_LIMIT = 64 * 1024
"""Bytes of a request's body: a question, never a config."""

JSON = "application/json"
LINES = "application/x-ndjson"
TEXT = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text exposition format

_PHRASES = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    422: "Unprocessable Content",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Denied(Exception):  # noqa: N818 - it is an answer
    """The fault of a request, and its HTTP status."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its path without the query, the query's last word for each key, the body."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    length: int = 0
    keep: bool = True
    host: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `body` becomes JSON; a text goes out as it is."""

    body: object
    status: int = 200
    kind: str = JSON

    def encode(self, keep: bool, *, bodiless: bool = False) -> bytes:
        """The whole response; `bodiless`: to a HEAD, which gets no content."""
        text = self.body if isinstance(self.body, str) else json.dumps(self.body, default=str)
        data = text.encode() + (b"\n" if self.kind == JSON else b"")
        begun = head(self.status, self.kind, f"Content-Length: {len(data)}", keep)
        return begun if bodiless else begun + data


@dataclass(frozen=True, slots=True)
class Follow:
    """An answer without an end: one JSON object a line, until the client leaves."""

    lines: AsyncGenerator[str, None]


def asked(data: bytes) -> Asked:
    """Read a request's head, without its empty line. Raises Denied."""
    try:
        read = parse_request(data)
    except HeadError as error:
        raise Denied(error.status, str(error)) from None
    fields = {name.lower(): value for name, value in read.fields}
    if b"transfer-encoding" in fields:
        raise Denied(400, "a body requires a Content-Length")
    length = fields.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 9:
        raise Denied(400, "a bad Content-Length")
    if int(length) > BODY_LIMIT:
        raise Denied(413, f"the body is larger than {BODY_LIMIT} bytes")
    path, query = _parts(read.uri)
    keep = read.minor > 0 and fields.get(b"connection", b"").lower() != b"close"
    host = fields.get(b"host", b"").decode("latin-1")
    return Asked(read.method, path, query, int(length), keep, host)


def question(body: bytes) -> object:
    """The JSON of a request's body; None where it has none. Raises Denied."""
    if not body:
        return None
    try:
        return json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Denied(400, "the body is not valid JSON") from None


def denial(why: Denied) -> Reply:
    """The answer that says no."""
    found: dict[str, object] = {"error": str(why)}
    if why.hint:
        found["hint"] = why.hint
    return Reply(found, why.status)


def head(status: int, kind: str, framing: str, keep: bool) -> bytes:
    """A response's head."""
    connection = "keep-alive" if keep else "close"
    return (
        f"HTTP/1.1 {status} {_PHRASES.get(status, 'Error')}\r\nContent-Type: {kind}\r\n"
        f"{framing}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
        f"Connection: {connection}\r\n\r\n"
    ).encode()


def _parts(uri: str) -> tuple[str, dict[str, str]]:
    """The path and the query of a request target. Raises Denied."""
    try:
        parts = urlsplit(uri)
        query = parse_qsl(parts.query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        text = f"a bad request target, or more than {_MOST_FIELDS} fields in its query"
        raise Denied(400, text) from None
    return unquote(parts.path), dict(query)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not JSON (RFC 8259 section 6)")


_MOST_FIELDS = 16


def chunk(data: bytes) -> bytes:
    """A chunk of a body (RFC 9112 section 7.1); an empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)
