"""Transports as share links and the configs of other programs say them."""

from __future__ import annotations

from collections.abc import Mapping

from byway import transports
from byway.values.foreign import Foreign, NotCarried
from byway.values.wrong import Wrong, shown

PLAIN = ("", "tcp", "raw", "original")
"""The words for no transport at all."""
SAID = frozenset({"type", "path", "host", "headerType", "ed", "eh"})
"""The keys of a link that say the transport."""

Section = dict[str, object]


def of_link(query: Mapping[str, str]) -> Section:
    """The `transport` of a link's query, or nothing. Raises Wrong."""
    word = query.get("type", "")
    if word in PLAIN:
        if (header := query.get("headerType", "")) not in ("", "none"):
            raise Wrong(f"a link with the header {shown(header)} is not supported")
        return {}
    if word not in transports.TABLE:
        known = ", ".join(transports.TABLE)
        raise Wrong(f"the transport {shown(word)} is not supported yet", f"known: {known}")
    return {"transport": transports.transport(word).of_link(query)}


def of_clash(entry: Foreign) -> Section:
    """The `transport` of an entry of Clash, or nothing. Raises NotCarried."""
    word = entry.text("network")
    if word in PLAIN:
        return {}
    options = entry.part(f"{word}-opts")
    if options.flag("v2ray-http-upgrade"):
        word = "httpupgrade"
        options.pass_over("v2ray-http-upgrade-fast-open")
    return {"transport": _of(word, options)}


def of_sing_box(entry: Foreign) -> Section:
    """The `transport` of an entry of sing-box, out or in, or nothing. Raises NotCarried."""
    options = entry.part("transport")
    word = options.text("type")
    return {"transport": _of(word, options)} if word else {}


def _of(word: str, options: Foreign) -> Section:
    if word not in transports.TABLE:
        raise NotCarried(f"the transport {word} is not supported yet")
    return transports.transport(word).of_foreign(options)
