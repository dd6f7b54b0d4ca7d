"""The other end of the control interface, for the verbs: finds the socket, asks, follows."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from byway.api.places import places
from byway.errors import BywayError, in_words

PATIENCE = 15.0  # seconds for an answer

Answer = dict[str, object]


class NotRunning(BywayError):  # noqa: N818
    """No Byway answers at the control socket."""


class Refusal(BywayError):  # noqa: N818
    """The running Byway said no. `answer` is what it said, `status` the HTTP status."""

    def __init__(self, status: int, answer: Answer) -> None:
        super().__init__(str(answer.get("error", status)), str(answer.get("hint", "")))
        self.status = status
        self.answer = answer


class Client:
    """Speaks with one running Byway, over a connection that is kept. Not for two threads."""

    def __init__(self, path: str, patience: float = PATIENCE) -> None:
        """`patience`: for so many seconds an answer is waited for."""
        self.path = path
        self._link = _Link(path, patience)

    def ask(self, method: str, path: str, question: object = None, **query: object) -> Answer:
        """One question. Raises NotRunning, or Refusal when the answer is no."""
        body = None if question is None else json.dumps(question).encode()
        where = f"{path}?{urlencode(query)}" if query else path
        try:
            self._link.request(method, where, body)
            response = self._link.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._link.close()
            raise _not_running(self.path, error) from error
        answer = json.loads(data)
        if response.status != 200:
            raise Refusal(response.status, answer)
        assert isinstance(answer, dict)
        return answer

    def follow(self, path: str, question: object = None, **query: object) -> Iterator[Answer]:
        """The objects of an answer that comes bit by bit, until its end or that of Byway.

        Raises NotRunning, or Refusal when the answer is no.
        """
        method = "GET" if question is None else "POST"
        body = None if question is None else json.dumps(question).encode()
        try:
            self._link.request(method, f"{path}?{urlencode(query)}", body)
            response = self._link.getresponse()
            if response.status != 200:
                raise Refusal(response.status, json.loads(response.read()))
            self._link.endless()
            while line := response.readline():
                yield json.loads(line)
        except http.client.IncompleteRead:
            return
        except (OSError, http.client.HTTPException) as error:
            raise _not_running(self.path, error) from error
        finally:
            self._link.close()

    def close(self) -> None:
        """Hang up."""
        self._link.close()


def found(asked: str | None, environ: Mapping[str, str]) -> str:
    """The socket to ask at: the one named, $BYWAY_SOCKET, or the first that is there.

    Raises NotRunning where there is none.
    """
    named = asked or environ.get("BYWAY_SOCKET")
    if named:
        return named
    known = places(environ, os.getuid())
    for path in known:
        if os.path.exists(path):
            return path
    raise NotRunning(
        f"Byway is not running: there is no socket at {' or '.join(known)}",
        "start one with `byway run`, or set its socket with --socket",
    )


class _Link(http.client.HTTPConnection):
    def __init__(self, path: str, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._path = path
        self._patience = patience

    def connect(self) -> None:
        self.raw = self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._patience)
        self.sock.connect(self._path)

    def endless(self) -> None:
        """Wait for the next line as long as it takes."""
        self.raw.settimeout(None)


def _not_running(path: str, error: Exception) -> NotRunning:
    if isinstance(error, PermissionError):
        return NotRunning(f"{path} belongs to another user", "run this as that user, or as root")
    if isinstance(error, ConnectionError | FileNotFoundError):
        return NotRunning(f"Byway does not answer at {path}", "is it still running?")
    return NotRunning(f"the Byway at {path} does not answer: {in_words(error)}")
