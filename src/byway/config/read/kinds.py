"""Names the kind of a file that no import reads, so that its owner knows what to bring."""

from __future__ import annotations

import re

from byway.rules.gathering import Bad
from byway.rules.guess import form_of
from byway.values.written import Node

READ = "read are Clash or mihomo YAML, sing-box JSON, links, base64 subscriptions and SIP008"
OURS = "a config of Byway: use it as it is (byway run -c FILE)"
_ASK = "many providers give another form by a word in the URL (flag=clash) or by --user-agent"
_MAGIC = {
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"SQLite format 3\0": "a database (SQLite)",
    b"%PDF": "a PDF",
    b"SRS": "a rule set in sing-box's binary form (srs)",
    b"\x28\xb5\x2f\xfd": "a rule set in mihomo's binary form (mrs)",
    b"\xff\xfe": "a text in UTF-16: save it as UTF-8",
    b"\xfe\xff": "a text in UTF-16: save it as UTF-8",
}
_SECTION = re.compile(r"^[ \t]*\[([A-Za-z][A-Za-z0-9_ -]{0,30})\][ \t]*$", re.MULTILINE)
_QUANTUMULT = "a config of Quantumult"
_SECTIONS = {
    "server_local": f"{_QUANTUMULT} X",
    "server_remote": f"{_QUANTUMULT} X",
    "filter_local": f"{_QUANTUMULT} X",
    "filter_remote": f"{_QUANTUMULT} X",
    "rewrite_local": f"{_QUANTUMULT} X",
    "rewrite_remote": f"{_QUANTUMULT} X",
    "task_local": f"{_QUANTUMULT} X",
    "policy": _QUANTUMULT,
    "remote proxy": "a config of Loon",
    "remote filter": "a config of Loon",
    "remote rule": "a config of Loon",
    "remote rewrite": "a config of Loon",
    "proxy chain": "a config of Loon",
    "interface": "a config of WireGuard",
    "proxy": "a config of Surge, or of a program that reads the same",
    "proxy group": "a config of Surge, or of a program that reads the same",
    "rule": "a config of Surge, or of a program that reads the same",
    "url rewrite": "a module of Surge, or of a program that reads the same",
    "script": "a module of Surge, or of a program that reads the same",
    "mitm": "a module of Surge, or of a program that reads the same",
}
"""What a section speaks for; those that several programs have stand last."""
_OPENVPN = re.compile(r"^(?:client|dev (?:tun|tap)\S*|remote \S+ \d+.*)$", re.MULTILINE)
_XRAY = {
    "routing", "inboundDetour", "outboundDetour", "inbound", "outbound", "policy", "stats", "api",
    "transport", "observatory", "burstObservatory", "reverse",
}  # fmt: skip


def nature(data: bytes) -> str:
    """The kind of bytes that are no text; "" for possible text."""
    if name := magic(data):
        return name
    if b"MaxMind.com" in data[-128 * 1024 :]:
        return "a database of addresses (mmdb): name it with --country or --asn"
    return "a binary file" if b"\0" in data[:4096] else ""


def magic(data: bytes) -> str:
    """The kind of bytes by their first ones, or ""."""
    for start, name in _MAGIC.items():
        if data.startswith(start):
            return name
    return ""


def program_of(text: str) -> str:
    """Whose text this is, where it is of a form that is neither YAML, JSON nor links; or ""."""
    start = text.lstrip()[:4096]
    if start[:1] == "<":
        return "a web page: the URL may be out of date, or ask for a browser"
    found = {name.lower() for name in _SECTION.findall(text)}
    if found and not re.match(r"(?:[\w-]+:(?:\s|$)|[{-]|[a-z0-9+]+://)", _first_line(text)):
        for section, program in _SECTIONS.items():
            if section in found:
                return program
        return "an ini or TOML file"
    if len({line.split()[0] for line in _OPENVPN.findall(text)}) >= 2:
        return "a config of OpenVPN"
    return ""


def list_of(text: str) -> str:
    """The kind of a text that is a bare list of rules or names; "" for none."""
    try:
        form = form_of(text.encode("utf-8", "replace"))
    except Bad:
        return ""
    words = {"clash": "a list of rules", "adblock": "a block list", "hosts": "a hosts file"}
    return f"{words[form]}: use it as a set (sets:)" if form in words else ""


def document_of(root: Node) -> str:
    """The kind of a YAML or JSON document, by its keys; "" where readable or unknown."""
    if isinstance(root.content, list):
        first = root.content[0] if root.content else None
        return document_of(first) if isinstance(first, Node) and first.content else ""
    keys = _keys(root)
    ends = [one for key in ("inbounds", "outbounds") for one in _items(root, key)]
    sections = map(root.get, ("inbounds", "outbounds", "groups", "sets"))
    if any(part is not None and isinstance(part.content, dict) for part in sections):
        return OURS
    typed = any("type" in _keys(one) for one in ends)
    if any("protocol" in _keys(one) for one in ends) or (keys & _XRAY and not typed):
        return "a config of V2Ray or Xray"
    if "payload" in keys:
        return "a rule provider of Clash: use it as a set (sets:)"
    rules = _items(root, "rules")
    if "version" in keys and rules and isinstance(rules[0].content, dict):
        return "a rule set of sing-box: use it as a set (sets:)"
    if "run_type" in keys:
        return "a config of trojan"
    if "configs" in keys:
        return "a config of Shadowsocks for Windows"
    if {"server", "auth"} <= keys or {"server", "auth_str"} <= keys:
        return "a config of Hysteria"
    return ""


def _keys(node: Node) -> set[str]:
    return set(node.content) if isinstance(node.content, dict) else set()


def _items(node: Node, key: str) -> list[Node]:
    part = node.get(key) if isinstance(node.content, dict) else None
    return part.content if part is not None and isinstance(part.content, list) else []


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line and line[0] not in "#;!/"), "")
