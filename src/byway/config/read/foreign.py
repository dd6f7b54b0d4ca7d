"""Configs of other programs, known by their text: to be imported, and not read as ours."""

from __future__ import annotations

import re

_CLASH = re.compile(
    r"^(proxies|proxy-groups|proxy-providers|rule-providers|mixed-port|socks-port|redir-port"
    r"|allow-lan|external-controller|port)[ \t]*:",
    re.MULTILINE,
)
_OURS = re.compile(r"^(inbounds|outbounds|groups|sets)[ \t]*:", re.MULTILINE)
_LISTED = re.compile(r'"(in|out)bounds"\s*:\s*\[')
_XRAY = re.compile(r'"?protocol"?\s*:\s*"?(freedom|blackhole|vmess|vless|socks|http|dokodemo-door)')
_SERVERS = re.compile(r'"servers"\s*:\s*\[|"server_port"\s*:')
_LINKS = re.compile(r"\s*[a-z0-9+]{2,16}://\S+\s*$", re.MULTILINE)
_BASE64 = re.compile(r"\s*[A-Za-z0-9+/_-]{64}[A-Za-z0-9+/_=\s-]*")


def foreign(text: str) -> str:
    """The program of a foreign config; "" for none that is known."""
    if _LISTED.search(text):
        return "an Xray or V2Ray config" if _XRAY.search(text) else "a sing-box config"
    if _CLASH.search(text) and not _OURS.search(text):
        return "a Clash config"
    if text.lstrip()[:1] == "{" and _SERVERS.search(text):
        return "a list of servers (SIP008)"
    if _LINKS.match(text):
        return "a list of links"
    return "a subscription in base64" if _BASE64.fullmatch(text) else ""


def import_hint(file: str) -> str:
    """How a config of Byway is made of it."""
    return f"byway import {file} -o byway.yaml"
