"""Lists of links, one a line, plain or in base64: what most providers hand out."""

from __future__ import annotations

import base64
import binascii
import re

from byway.config.links import SCHEMES, read_link
from byway.importing.draft import Draft, Way
from byway.importing.source import endpoint
from byway.values.wrong import Wrong

NOT_YET = {
    "vmess": "VMess",
    "vless": "VLESS",
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
    bare = re.sub(r"\s+", "", text).replace("-", "+").replace("_", "/").rstrip("=")
    if not bare or not re.fullmatch(r"[A-Za-z0-9+/]+", bare, re.ASCII):
        return None
    try:
        found = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    plain = found.decode("utf-8", "replace").lstrip("\ufeff")
    return plain if has_links(plain) else None


def has_links(text: str) -> bool:
    """Whether any line is a link."""
    return any(_LINK.match(line.strip()) for line in text.splitlines())


def read(text: str, draft: Draft) -> None:
    """Read lines of links: outbounds, and a group to choose among them."""
    found: list[Way] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip().lstrip("\ufeff")
        if not line or line[0] in "#;" or line.startswith("//"):
            continue
        if not _LINK.match(line):
            # some put what is left of the traffic, or a notice, between the links
            draft.note(number, "a line", "is no link")
            continue
        _link(line, number, draft, found)
    choose(draft, found)


def choose(draft: Draft, found: list[Way]) -> None:
    """Send everything by what was found: a group where there are several."""
    if len(found) > 1:
        draft.group("proxies", 0, {"type": "select", "members": list(found)})
        draft.otherwise = {"otherwise": Way("proxies")}
    elif found:
        draft.otherwise = {"otherwise": found[0]}


def _link(line: str, number: int, draft: Draft, found: list[Way]) -> None:
    scheme = line.partition("://")[0].lower()
    what = f"a {scheme}:// link"
    if scheme in NOT_YET:
        draft.note(number, what, f"{NOT_YET[scheme]} is not spoken yet")
        return
    if scheme not in (*SCHEMES, "https"):
        draft.note(number, what, "is of no kind that is known here")
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
    name = link.name
    count = 1
    while Way(name) in found:
        count += 1
        name = f"{link.name}-{count}"
    tls = outbound.get("tls")
    if isinstance(tls, dict) and tls.get("insecure"):
        draft.note(number, name, "trusts anyone (allowInsecure), as the link says")
    draft.outbound(name, number, dict(outbound))
    found.append(Way(name))
