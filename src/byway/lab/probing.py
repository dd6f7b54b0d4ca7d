"""What a wall can learn of a server by speaking to it. These run on a host: see `Host.call`."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence

_MOST = 65536  # bytes of an answer; what a server says to a stranger is short
Answer = tuple[bytes, str]
"""What came back, and how it stood in the end: `silence`, `closed` or `reset`."""


def probe(host: str, port: int, openings: Sequence[bytes], wait: float) -> list[Answer]:
    """Send each of these on a connection of its own, all at once, and listen for `wait` seconds."""
    streams = [socket.create_connection((host, port), 10) for _ in openings]
    for stream, opening in zip(streams, openings, strict=True):
        stream.sendall(opening)
    until = time.monotonic() + wait
    return [_heard(stream, until) for stream in streams]


def probe_tls(host: str, port: int, name: str, opening: bytes, wait: float) -> Answer:
    """The same inside TLS, with the server's certificate checked for the name."""
    context = ssl.create_default_context()
    raw = socket.create_connection((host, port), 10)
    stream = context.wrap_socket(raw, server_hostname=name)
    stream.sendall(opening)
    return _heard(stream, time.monotonic() + wait)


def _heard(stream: socket.socket, until: float) -> Answer:
    heard = b""
    with stream:
        while len(heard) < _MOST:
            # Those whose turn comes late have had their time already; a look is enough.
            stream.settimeout(max(0.05, until - time.monotonic()))
            try:
                data = stream.recv(_MOST)
            except TimeoutError:
                return heard, "silence"
            except ConnectionError:
                return heard, "reset"
            if not data:
                break
            heard += data
    return heard, "closed"
