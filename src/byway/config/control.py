"""How the control interface's socket is written in a config."""

from __future__ import annotations

from typing import Annotated

from byway.flow import Target
from byway.values import hosts
from byway.values.texts import Reads, ReadsPath, text_of
from byway.values.wrong import Wrong

AUTO = "auto"
OFF = "off"


def _socket(value: object, folder: str | None) -> str:
    if value is False:  # YAML 1.1 reads a bare `off` so
        return OFF
    text = text_of(value)
    if text in (AUTO, OFF):
        return text
    path = text.removeprefix("unix:")
    if not path or path.endswith("/") or path.startswith("@") or "\0" in path:
        raise Wrong("expected the path of a unix socket, auto or off", "for example control.sock")
    path = hosts.placed(path, folder)
    if len(path.encode()) > 90:
        raise Wrong(f"the path of the socket has {len(path.encode())} bytes", "at most 90")
    return path


ControlSocket = Annotated[
    str, ReadsPath(_socket, {"anyOf": [{"type": "string", "minLength": 1}, {"const": False}]})
]
"""`auto`, `off`, or a path (relative ones count from the config's folder)."""


def _metrics(value: object) -> Target:
    address = hosts.listen(text_of(value))
    packed = address.packed
    if packed is None or not (packed[0] == 127 if len(packed) == 4 else packed == _LOOPBACK):
        raise Wrong(f"{address} can be reached by other hosts", "metrics stay on loopback")
    return address


_LOOPBACK = bytes(15) + b"\x01"

MetricsAddress = Annotated[Target, Reads(_metrics, {"type": "string", "minLength": 3})]
"""`address:port` on loopback."""
