"""Raw ends for the fault tests: a server that records or stays silent, a client that sends."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Sink:
    """A TCP server that keeps every connection open and records what comes."""

    port: int
    reply: bytes
    held: list[socket.socket] = field(default_factory=list)
    seen: bytearray = field(default_factory=bytearray)
    ends: list[str] = field(default_factory=list)

    def hang_up(self) -> None:
        """Close all it holds."""
        for sock in self.held:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        while self.held:
            self.held.pop().close()


@contextmanager
def sink(reply: bytes = b"", *, read: bool = True) -> Iterator[Sink]:
    """A sink on a free port; it answers the first bytes of each connection with `reply`.

    With `read` false it only accepts and holds, without a thread for each connection.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        state = Sink(int(listener.getsockname()[1]), reply)
        threads = [threading.Thread(target=_accept, args=(listener, state, read), daemon=True)]
        threads[0].start()
        try:
            yield state
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            threads[0].join()
            state.hang_up()


def _accept(listener: socket.socket, state: Sink, read: bool) -> None:
    readers: list[threading.Thread] = []
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            break
        state.held.append(sock)
        if read:
            readers.append(threading.Thread(target=_record, args=(sock, state), daemon=True))
            readers[-1].start()
    if read:
        state.hang_up()
    for reader in readers:
        reader.join()


def _record(sock: socket.socket, state: Sink) -> None:
    first = True
    try:
        while data := sock.recv(65536):
            state.seen += data
            if first and state.reply:
                sock.sendall(state.reply)
            first = False
        state.ends.append("end")
    except OSError as error:
        state.ends.append(type(error).__name__)


def dial(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A connection to the proxy; no wait on it lasts longer than 10 s."""
    return socket.create_connection((host, port), timeout=10)


def reset(sock: socket.socket) -> None:
    """Close with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def rest(sock: socket.socket) -> bytes:
    """All that comes until the other side ends or resets. TimeoutError when it does neither."""
    got = b""
    with suppress(ConnectionError):
        while data := sock.recv(65536):
            got += data
    return got


def exchange(port: int, *pieces: bytes, then: Callable[[socket.socket], object] = rest) -> bytes:
    """Send bytes as they are, and return what came until the end."""
    with dial(port) as sock:
        for piece in pieces:
            try:
                sock.sendall(piece)
            except ConnectionError:
                break
        got = then(sock)
    return got if isinstance(got, bytes) else b""
