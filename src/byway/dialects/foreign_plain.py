"""Plain proxies as the configs of other programs say them."""

from __future__ import annotations

from byway.dialects import foreign_tls, uot
from byway.dialects.card import FromForeign, Written
from byway.values.foreign import Foreign


def out_of_clash(type_: str, udp: bool) -> FromForeign:
    """The reader of a plain proxy; `udp`: whether the protocol carries packets."""

    def read(entry: Foreign) -> Written:
        made: Written = {"type": type_, **_credentials(entry)}
        if entry.flag("tls"):
            made["tls"] = foreign_tls.of_clash(entry)
        if udp and "udp" in entry and not entry.flag("udp"):
            entry.note("udp", "udp: false is not kept: UDP is enabled here")
        uot.not_in_clash(entry)
        return made

    return read


def out_of_sing_box(type_: str, udp: bool) -> FromForeign:
    """The same of an outbound of sing-box."""

    def read(entry: Foreign) -> Written:
        made: Written = {"type": type_, **_credentials(entry)}
        if (tls := foreign_tls.of_sing_box(entry)) is not None:
            made["tls"] = tls
        if udp:
            always_both(entry)
        else:
            entry.pass_over("network")
        return made | uot.of_sing_box(entry)

    return read


def into_clash(type_: str) -> FromForeign:
    """The reader of a listener that may have users."""

    def read(entry: Foreign) -> Written:
        return {"type": type_}

    return read


def into_sing_box(type_: str) -> FromForeign:
    """The reader of an inbound that may have users and TLS."""

    def read(entry: Foreign) -> Written:
        tls = foreign_tls.of_listener(entry)
        return {"type": type_} | ({} if tls is None else {"tls": tls})

    return read


def always_both(entry: Foreign) -> None:
    """Tell of a `network` that has no equivalent."""
    networks = entry.texts("network") or ["tcp", "udp"]
    if "udp" not in networks:
        entry.note("network", "network: tcp is not kept: UDP is enabled here")
    elif "tcp" not in networks:
        entry.note("network", "network: udp is not kept: TCP is enabled here")


def _credentials(entry: Foreign) -> Written:
    return {key: word for key in ("username", "password") if (word := entry.text(key))}
