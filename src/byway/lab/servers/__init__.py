"""Servers that run inside lab hosts, each a program: `python -m byway.lab.servers.NAME`.

Each prints the line "ready" when it serves.
"""

import socket

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # socket(7)


def deepen(end: socket.socket, size: int) -> None:
    """Give a socket this much buffer each way, past the machine's limit where we may."""
    for force, ask in (
        (_SO_RCVBUFFORCE, socket.SO_RCVBUF),
        (_SO_SNDBUFFORCE, socket.SO_SNDBUF),
    ):
        try:
            end.setsockopt(socket.SOL_SOCKET, force, size)
        except PermissionError:
            end.setsockopt(socket.SOL_SOCKET, ask, size)
