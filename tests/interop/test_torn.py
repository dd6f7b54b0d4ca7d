"""A response that broke off, as curl sees it: by way of Byway it fails where it fails directly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.interop.programs import need, run
from tests.interop.raw import reset

BODY = b"abcdeab"
ENDS = {
    "until-close": (b"\r\n" + BODY, True),
    "length": (b"Content-Length: 10\r\n\r\n" + BODY, False),
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n7\r\n%b\r\n" % BODY, False),
    "chunked-reset": (b"Transfer-Encoding: chunked\r\n\r\n7\r\n%b\r\n" % BODY, True),
}
PARTIAL_FILE, RECEIVE_ERROR = 18, 56


@contextmanager
def answering(words: bytes, breaks: bool) -> Iterator[int]:
    """A server that answers each request so, and then resets or closes; its port."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            while True:
                try:
                    link, _ = door.accept()
                except OSError:
                    return
                link.settimeout(10)
                link.recv(65536)
                link.sendall(b"HTTP/1.1 200 OK\r\n" + words)
                if breaks:
                    reset(link)
                link.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(door.getsockname()[1])
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
@pytest.mark.parametrize("end", ENDS)
def test_curl_fails_as_it_does_directly(end: str, version: str, port: int) -> None:
    curl = (need("curl"), "-q", "-sS", "--noproxy", "", "-m", "20", version)
    with answering(*ENDS[end]) as origin:
        url = f"http://127.0.0.1:{origin}/"
        assert run(*curl, url).returncode in (PARTIAL_FILE, RECEIVE_ERROR)
        for proxy in ("http", "socks5h"):
            done = run(*curl, "-x", f"{proxy}://127.0.0.1:{port}", url)
            assert done.returncode in (PARTIAL_FILE, RECEIVE_ERROR), done.stderr
