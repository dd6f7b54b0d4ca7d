"""The host's own resolver (getaddrinfo), in a bounded number of threads, remembered briefly."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from collections.abc import Sequence

from byway.errors import Reason, Unreachable, in_words

THREADS = 16  # a dead DNS server holds a thread for some ten seconds
WAITING = 1024  # names that may wait for a thread
KEPT = 5.0  # seconds: getaddrinfo tells no lifetime, so an answer serves one page load, not more
KEPT_UNKNOWN = 1.0  # seconds that a failure is
MOST = 4096

_Answer = tuple[bytes, ...]
_Job = tuple[str, "asyncio.Future[_Answer]"]


class SystemResolver:
    """Resolves as every other program of this host does (hosts file, search list, mDNS, DNS).

    Belongs to the event loop it is first used in. Threads start when they are needed, and die with
    the process: a lookup that hangs keeps nobody from leaving.

    What is known, also that a name is unknown, changes only between two turns of the loop. So the
    dial that follows a verdict at once sees the addresses that were judged, whatever the name's
    server answers next.
    """

    def __init__(self, threads: int = THREADS, kept: float = KEPT) -> None:
        self._most = threads
        self._kept = kept
        self._threads = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._asked: dict[str, asyncio.Future[_Answer]] = {}
        self._known: dict[str, _Answer | Unreachable] = {}

    async def resolve(self, name: str) -> Sequence[bytes]:
        """The addresses of a name, best first (RFC 6724). Raises Unreachable (NAME_UNKNOWN).

        Several who ask for one name at once share a lookup. A cancelled wait leaves it running.
        """
        if (known := self._known.get(name)) is not None:
            if isinstance(known, Unreachable):
                raise Unreachable(str(known), known.hop, known.reason)
            return known
        asked = self._asked.get(name)
        if asked is None:
            asked = self._ask(name, asyncio.get_running_loop())
        return await asyncio.shield(asked)

    def by(self, use: Sequence[str]) -> SystemResolver:
        """Itself: where it is used alone there are no name servers to choose from."""
        return self

    def close(self) -> None:
        """Send the threads home; those in a lookup go after it."""
        for _ in range(self._threads):
            self._jobs.put(None)
        for asked in self._asked.values():
            asked.cancel()

    def _ask(self, name: str, loop: asyncio.AbstractEventLoop) -> asyncio.Future[_Answer]:
        if len(self._asked) >= WAITING:
            raise Unreachable(f"too many names wait for the resolver ({WAITING})", name)
        asked: asyncio.Future[_Answer] = loop.create_future()
        self._asked[name] = asked
        asked.add_done_callback(lambda _: self._told(name, loop))
        if self._threads < self._most and len(self._asked) > self._threads:
            self._threads += 1
            threading.Thread(
                target=_look_up, args=(self._jobs, loop), name="byway-resolver", daemon=True
            ).start()
        self._jobs.put((name, asked))
        return asked

    def _told(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        asked = self._asked.pop(name)
        if asked.cancelled():
            return
        error = asked.exception()
        known = error if isinstance(error, Unreachable) else asked.result()
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[name] = known
        kept = min(self._kept, KEPT_UNKNOWN) if known is error else self._kept
        loop.call_later(kept, self._forget, name, known)

    def _forget(self, name: str, known: _Answer | Unreachable) -> None:
        if self._known.get(name) is known:
            del self._known[name]


def _look_up(jobs: queue.SimpleQueue[_Job | None], loop: asyncio.AbstractEventLoop) -> None:
    while (job := jobs.get()) is not None:
        name, asked = job
        answer: _Answer = ()
        error: Unreachable | None = None
        try:
            answer = _addresses(name)
        except OSError as failure:
            error = Unreachable(
                f"cannot resolve {name}: {in_words(failure)}", name, Reason.NAME_UNKNOWN
            )
        except Exception as failure:  # a codec's; a thread must not die of a name
            error = Unreachable(f"cannot resolve {name!r}: {failure}", name, Reason.NAME_UNKNOWN)
        try:
            loop.call_soon_threadsafe(_settle, asked, answer, error)
        except RuntimeError:
            return  # the loop is closed


def _settle(asked: asyncio.Future[_Answer], answer: _Answer, error: Unreachable | None) -> None:
    if asked.done():
        return
    if error is not None:
        asked.set_exception(error)
    else:
        asked.set_result(answer)


def _addresses(name: str) -> _Answer:
    found: dict[bytes, None] = {}
    for family, _, _, _, address in socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM):
        if family == socket.AF_INET:
            found[socket.inet_aton(str(address[0]))] = None
        elif family == socket.AF_INET6:
            text = str(address[0]).partition("%")[0]
            found[socket.inet_pton(socket.AF_INET6, text)] = None
    if not found:
        raise OSError("it has no addresses")
    return tuple(found)
