"""An origin web server for the interop tests: HTTP/1.1 with every kind of body, over TCP or TLS.

It can run in a thread of the tests, or by itself inside a network namespace:
`python -m tests.interop.origin ADDRESS PORT [CERTIFICATE KEY]`.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BLOCK = hashlib.shake_128(b"byway").digest(1 << 20)

# A page whose script fetches eight bodies at once and writes what it got into the document.
PAGE = b"""<!doctype html><title>page</title><p id=out>waiting</p><script>
const sizes = [1, 1000, 70000, 100001, 2, 3, 4, 300000];
const body = n => fetch('/bytes/' + n).then(r => r.arrayBuffer()).then(b => b.byteLength);
const show = text => { out.textContent = text; };
Promise.all(sizes.map(body)).then(got => show('arrived ' + got.join(' ')), show);
</script>"""


def content(size: int) -> bytes:
    """The `size` bytes that /bytes/SIZE serves: one pseudo-random MiB, repeated."""
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


def digest(size: int) -> str:
    """The SHA-256 of `content(size)`, without holding it all."""
    total = hashlib.sha256()
    for _ in range(size // len(BLOCK)):
        total.update(BLOCK)
    total.update(BLOCK[: size % len(BLOCK)])
    return total.hexdigest()


class Exchange(BaseHTTPRequestHandler):
    """One connection: GET /bytes/N, /chunked/N, /close/N, /seen; PUT or POST anything: its hash."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.number = self.server.counted()

    def do_GET(self) -> None:
        kind, _, size = self.path.partition("?")[0].strip("/").partition("/")
        if kind == "seen":
            self._answer(self._seen())
        elif kind == "bytes":
            self.send_response(200)
            self.send_header("Content-Length", size)
            self.end_headers()
            for piece in _pieces(int(size)):
                self.wfile.write(piece)
        elif kind == "chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Trailer", "X-After")
            self.end_headers()
            for piece in _pieces(int(size), 50_000):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\nX-After: yes\r\n\r\n")
        elif kind == "close":
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            for piece in _pieces(int(size)):
                self.wfile.write(piece)
            self.close_connection = True
        elif kind == "page":
            self._send(200, "text/html", PAGE)
        elif kind == "upgrade":
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", self.headers.get("Upgrade", "echo"))
            self.end_headers()
            while data := self.rfile.read1(65536):
                self.wfile.write(data)
            self.close_connection = True
        else:
            self._answer({"unknown": self.path}, 404)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "12345")
        self.end_headers()

    def do_PUT(self) -> None:
        total, size = hashlib.sha256(), 0
        for piece in self._body():
            total.update(piece)
            size += len(piece)
        self._answer({**self._seen(), "sha256": total.hexdigest(), "size": size})

    do_POST = do_PUT

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet: the tests read answers, not logs."""

    def _seen(self) -> dict[str, Any]:
        return {
            "connection": self.number,
            "peer": list(self.client_address[:2]),
            "line": self.requestline,
            "headers": {k.lower(): v for k, v in self.headers.items()},
        }

    def _answer(self, answer: dict[str, Any], status: int = 200) -> None:
        self._send(status, "application/json", json.dumps(answer).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(100).split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline(3)
            while self.rfile.readline(1000).strip():
                pass
            return
        left = int(self.headers.get("Content-Length", "0"))
        while left:
            piece = self.rfile.read(min(left, 1 << 18))
            if not piece:
                return
            left -= len(piece)
            yield piece


class Server(ThreadingHTTPServer):
    """The listening side; counts its connections, so that a test can see keep-alive."""

    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, address: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.connections = 0
        self._tls = tls
        self._lock = threading.Lock()
        super().__init__((address, port), Exchange)

    @property
    def port(self) -> int:
        """The port it is bound to."""
        return int(self.server_address[1])

    def counted(self) -> int:
        """Count one more connection."""
        with self._lock:
            self.connections += 1
            return self.connections

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        # In the connection's own thread, so that a slow handshake holds up nobody.
        with self._tls.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away mid-body is part of several tests."""

    def server_bind(self) -> None:
        """Bind without looking up this host's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()


def _pieces(size: int, limit: int = len(BLOCK)) -> Iterator[bytes]:
    at = 0
    while at < size:
        start = at % len(BLOCK)
        piece = BLOCK[start : start + min(limit, size - at)]
        yield piece
        at += len(piece)


def _alone(address: str, port: str, *certificate: str) -> None:
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
    with Server(address, int(port), tls) as server:
        server.serve_forever()


if __name__ == "__main__":
    _alone(*sys.argv[1:])
