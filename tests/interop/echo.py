"""Echo servers for the interop tests, TCP and UDP, each in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def udp_echo(host: str = "127.0.0.1") -> Iterator[int]:
    """A UDP port that sends every packet back; an empty packet from ourselves ends it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        stopping = threading.Event()

        def serve() -> None:
            while True:
                data, sender = sock.recvfrom(65536)
                if stopping.is_set():
                    return
                sock.sendto(data, sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(sock.getsockname()[1])
        finally:
            stopping.set()
            with socket.socket(family, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", sock.getsockname())
            thread.join()
