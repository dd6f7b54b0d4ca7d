"""Guesses the form of a list that names none, and whether it is a list at all."""

from __future__ import annotations

import re
from collections import Counter

from byway.rules.gathering import Bad

LOOKED_AT = 64 * 1024  # bytes at the beginning
_RULE = re.compile(
    rb"(?:-\s+['\"]?)?(?:DOMAIN|IP-|SRC-|DST-|PROCESS-|NETWORK|AND|OR|NOT|GEOIP|IN-)[A-Z0-9-]*,"
)
_HOSTS = re.compile(rb"(?:0\.0\.0\.0|127\.0\.0\.1|::1?)[ \t]+[^ \t#/]")
_DNSMASQ = re.compile(rb"(?:server|address|local|ipset|nftset)=/")
_BINARY = {
    b"SRS": "a list of sing-box in its binary form: write `format: srs`",
    b"\x28\xb5\x2f\xfd": "a list of mihomo in its binary form: write `format: mrs`",
    b"\x1f\x8b": "packed by gzip: unpack it",
    b"PK\x03\x04": "packed by zip: unpack it",
    b"\x7fELF": "a binary file: a program",
    b"MZ": "a binary file: a program",
    b"\xff\xfe": "written in UTF-16: save it in UTF-8",
    b"\xfe\xff": "written in UTF-16: save it in UTF-8",
}
_PUBLISHED = {b"SRS": "srs", b"\x28\xb5\x2f\xfd": "mrs"}
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_MOST_CONTROLS = 0.005  # of all bytes: text has none, but for a slip


def form_of(data: bytes) -> str:
    """The form of a list, by its first lines; `lines` when nothing speaks for another.

    Raises Bad for an error page, a binary file, or nothing: what can never be a list.
    """
    for magic, form in _PUBLISHED.items():
        if data.startswith(magic):
            return form
    refuse_binary(data)
    start = data[:LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise Bad("it is empty")
    if start[:1] == b"<":
        raise Bad("it is a web page, not a list")
    if start[:1] == b"{":
        return "sing-box"
    votes = Counter(_vote(line.strip()) for line in start.split(b"\n"))
    for form in ("clash-yaml", "adblock", "hosts", "clash", "dnsmasq"):
        if votes[form] and (form != "hosts" or votes[form] >= votes["lines"]):
            return form.removesuffix("-yaml")
    return "lines"


def refuse_binary(data: bytes) -> None:
    """Raise Bad for what is no text, with what it is instead."""
    start = data[:LOOKED_AT]
    named = next((name for magic, name in _BINARY.items() if start.startswith(magic)), "")
    controls = len(_CONTROLS.findall(start))
    sure = named and not start[:4].isascii()
    if sure or b"\0" in start or controls > len(start) * _MOST_CONTROLS:
        raise Bad(f"it is {named or 'a binary file; a list is text'}")


def _vote(line: bytes) -> str:
    """The form that a line speaks for, "" when it speaks for none."""
    if not line or line[:1] in b"#;":
        return ""
    if line.partition(b"#")[0].strip() == b"payload:":
        return "clash-yaml"
    if line[:1] == b"!" or line.startswith((b"||", b"@@", b"[Ad")):
        return "adblock"
    if _RULE.match(line) or line.startswith((b"+.", b"- ")):
        return "clash"
    if _DNSMASQ.match(line):
        return "dnsmasq"
    return "hosts" if _HOSTS.match(line) else "lines"
