"""A prober hears what there is to hear, and tells the ways apart in which a server ends."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from byway.lab.authority import Authority
from byway.lab.encrypted import _described
from byway.lab.probing import probe, probe_tls
from byway.lab.stage import SITE

Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve, times: int = 1) -> Iterator[int]:
    """Serve so many connections, one after the other; the port."""
    ended = threading.Event()

    def loop() -> None:
        for _ in range(times):
            stream, _ = listener.accept()
            with stream:
                stream.settimeout(10)
                serve(stream)
                if serve is keep_silent:
                    ended.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def answer_in_two(stream: socket.socket) -> None:
    stream.recv(100)
    stream.sendall(b"one ")
    stream.sendall(b"two")
    stream.shutdown(socket.SHUT_WR)


def reset(stream: socket.socket) -> None:
    stream.recv(100)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def keep_silent(stream: socket.socket) -> None:
    stream.recv(100)


def test_an_answer_is_heard_to_its_end() -> None:
    with serving(answer_in_two) as port:
        assert probe("127.0.0.1", port, [b"hello"], 10) == [(b"one two", "closed")]


def test_each_opening_has_a_connection_of_its_own() -> None:
    with serving(answer_in_two, times=2) as port:
        answers = probe("127.0.0.1", port, [b"hello", b"again"], 10)
    assert answers == [(b"one two", "closed")] * 2


def test_a_reset_is_told_from_a_close() -> None:
    with serving(reset) as port:
        assert probe("127.0.0.1", port, [b"hello"], 10) == [(b"", "reset")]


def test_silence_is_silence() -> None:
    with serving(keep_silent) as port:
        assert probe("127.0.0.1", port, [b"hello"], 0.1) == [(b"", "silence")]


def test_the_same_inside_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.issue([SITE], []))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))

    def serve(stream: socket.socket) -> None:
        with context.wrap_socket(stream, server_side=True) as inner:
            inner.sendall(inner.recv(100).upper())
            with contextlib.suppress(OSError):  # the prober does not wait for our farewell
                inner.unwrap()

    with serving(serve) as port:
        assert probe_tls("127.0.0.1", port, SITE, b"hello", 10) == (b"HELLO", "closed")


def test_answers_are_described() -> None:
    assert _described((b"", "silence")) == "silence"
    assert _described((b"abc", "closed")) == "3 bytes, then closed"
