"""Errors of the system, as a person is told of them."""

from __future__ import annotations

import errno

import pytest

from byway.errors import PeerError, in_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "connection reset"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.yaml"), "a.yaml: no such"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", b"\xff"), "no such"),
        (OSError(errno.EADDRINUSE, "cannot listen on X: in use"), "cannot listen on X: in use"),
        (OSError(0, "outbound A: tls: bad"), "outbound A: tls: bad"),
        (TimeoutError(), "timed out"),
        (TimeoutError("limits.dial"), "limits.dial"),
        (EOFError(), "the connection ended"),
        (PeerError("they said nonsense"), "they said nonsense"),
        (KeyError(), "KeyError"),
    ],
)
def test_in_words(error: BaseException, words: str) -> None:
    told = in_words(error)
    assert words in told
    assert "Errno" not in told


def test_the_file_can_be_left_out() -> None:
    error = FileNotFoundError(errno.ENOENT, "No such file or directory", "a.yaml")
    assert in_words(error, file=False) == "no such file or directory"
