"""Lists of links, one a line, plain or in base64: what most providers hand out."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote

from byway import dialects
from byway.config.read.links import SCHEMES, read_link
from byway.importing.draft import Draft
from byway.values.foreign import endpoint
from byway.values.wrong import Wrong

NOT_YET = {
    "vmess": "VMess",
    "ssr": "ShadowsocksR",
    "hysteria": "Hysteria",
    "hysteria2": "Hysteria 2",
    "hy2": "Hysteria 2",
    "tuic": "TUIC",
    "wireguard": "WireGuard",
    "wg": "WireGuard",
    "snell": "Snell",
    "anytls": "AnyTLS",
    "mieru": "Mieru",
    "naive+https": "NaiveProxy",
    "ssh": "SSH",
}
_LINK = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def unpacked(text: str) -> str | None:
    """What a base64 text holds, when that is lines of links; None when it is no such thing.

    Either alphabet, wrapped or not, padded or not, as subscriptions come.
    """
    bare = re.sub(r"\s+", "", text).rstrip("=")
    if not bare or not re.fullmatch(r"[A-Za-z0-9+/_-]+", bare, re.ASCII):
        return None
    plain = _opened(bare).lstrip("\ufeff")
    return plain if has_links(plain) else None


def has_links(text: str) -> bool:
    """Whether any line is a link."""
    return any(_LINK.match(line.strip()) for line in text.splitlines())


def read(text: str, draft: Draft) -> None:
    """Read lines of links: outbounds, and a group to choose among them."""
    found: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip().lstrip("\ufeff")
        if not line or line[0] in "#;" or line.startswith("//"):
            continue
        if not _LINK.match(line):
            draft.note(number, "a line", "is not a link")
            continue
        _link(line, number, draft, found)
    draft.everything_by(found)


def _link(line: str, number: int, draft: Draft, found: list[str]) -> None:
    scheme = line.partition("://")[0].lower()
    what = _label(scheme, line) or f"a {scheme}:// link"
    if scheme in NOT_YET:
        draft.note(number, what, f"{NOT_YET[scheme]} is not supported yet")
        return
    if scheme not in (*SCHEMES, "https"):
        draft.note(number, what, "has an unknown scheme")
        return
    try:
        link = read_link("http" + line[5:] if scheme == "https" else line)
    except Wrong as error:
        draft.note(number, what, error.message)
        return
    outbound = link.outbound
    if scheme == "https":  # an HTTP proxy inside TLS
        outbound = {**outbound, "tls": {}}
        if (server := str(outbound["server"])).endswith(":80") and ":80" not in line:
            outbound["server"] = endpoint(server[:-3].strip("[]"), 443)
    name = draft.free_name(link.name)
    tls = outbound.get("tls")
    if isinstance(tls, dict) and tls.get("insecure"):
        draft.note(number, name, "certificates are not verified (allowInsecure), as in the link")
    for lost in _unread(scheme, line):
        draft.note(number, name, lost)
    draft.outbound(name, number, dict(outbound))
    found.append(name)


def _unread(scheme: str, line: str) -> Iterator[str]:
    """Parameters of a link that no outbound supports."""
    name = dialects.schemes().get(scheme)
    unkept = None if name is None else dialects.card(name).unkept
    if unkept is not None:
        yield from unkept(dict(parse_qsl(line.partition("#")[0].partition("?")[2])))


def _label(scheme: str, line: str) -> str:
    """The name of a link's node; "" without one, or where it may be a secret."""
    body, _, label = line.partition("://")[2].partition("#")
    if scheme == "vmess" and "@" not in body:
        label = _field(_opened(body.partition("?")[0]), r'"ps"\s*:\s*("(?:[^"\\]|\\.)*")')
        with contextlib.suppress(ValueError):
            label = json.loads(label or '""')
    elif scheme == "ssr":
        label = _opened(_field(_opened(body), r"[?&]remarks=([^&]*)"))
    elif "@" in label:  # an unquoted # in a password
        return ""
    else:
        label = unquote(label)
    return "".join(c for c in label if c.isprintable()).strip()[:80]


def _field(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _opened(text: str) -> str:
    """The content of base64 in either alphabet; "" for other text."""
    plain = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
    try:
        found = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return found.decode("utf-8", "replace")
