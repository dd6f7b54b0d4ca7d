"""Questions over a stream (RFC 7766): many at once, each message behind its length. Also inside TLS
(RFC 7858)."""

from __future__ import annotations

import asyncio

from byway.dns.manner import Manner
from byway.dns.message import Answer, Failed, Question, Stray, Truncated, Wanted, answer, question
from byway.dns.packets import number
from byway.dns.start import Start
from byway.errors import BywayError, PeerError
from byway.interfaces import Stream

MOST_ASKED = 128  # on one connection
IDLE = 30.0  # seconds without a message, after which it is closed


class Pipe:
    """One connection. It is open until the server, or a long silence, closes it."""

    def __init__(
        self, stream: Stream, start: Start, padded: bool, manner: Manner | None = None
    ) -> None:
        self._manner = manner or Manner()
        self._stream = stream
        self._padded = padded
        self._asked: dict[bytes, tuple[Question, asyncio.Future[Answer]]] = {}
        self._writing = asyncio.Lock()
        self._closed = False
        self.heard = 0.0
        start(self._listen())

    @property
    def room(self) -> int:
        """How many questions it takes now; none when it is closed."""
        return 0 if self._closed else MOST_ASKED - len(self._asked)

    @property
    def is_open(self) -> bool:
        """Whether it lives."""
        return not self._closed

    async def ask(self, name: str, family: Wanted) -> Answer:
        """What the server answers. Raises Failed, OSError, EOFError. A cancel harms no other."""
        drawn, manner = number(self._asked), self._manner
        asked = question(name, family, drawn, self._padded, manner.edns, subnet=manner.subnet)
        told: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[asked.id] = asked, told
        try:
            async with self._writing:
                if self._closed:
                    raise EOFError("the server closed the connection")
                try:
                    await self._stream.write(len(asked.wire).to_bytes(2) + asked.wire)
                except BaseException:
                    self.close()  # half a message is on it
                    raise
            return await told
        finally:
            del self._asked[asked.id]
            forget(told)

    def close(self) -> None:
        """Close it; who waits for an answer is told."""
        self._end(EOFError("the connection was closed"))

    async def _listen(self) -> None:
        why: BaseException = EOFError("the connection was closed")
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    size = int.from_bytes(await self._stream.read_exactly(2))
                    wire = await self._stream.read_exactly(size)
                self.heard = asyncio.get_running_loop().time()
                self._take(wire)
        except (EOFError, OSError, BywayError) as error:
            why = error
        finally:
            self._end(why)

    def _take(self, wire: bytes) -> None:
        asked, told = self._asked.get(wire[:2], (None, None))
        if asked is None or told is None or told.done():
            return  # nobody waits for it any more
        try:
            told.set_result(answer(asked, wire))
        except Stray:
            return
        except Truncated:
            told.set_exception(Failed("the server truncated its answer over TCP"))
        except PeerError as error:
            told.set_exception(error)

    def _end(self, why: BaseException) -> None:
        if self._closed:
            return
        self._closed = True
        self._stream.close()
        for _, told in self._asked.values():
            if not told.done():
                told.set_exception(EOFError(f"the connection ended: {why or type(why).__name__}"))


def forget(told: asyncio.Future[Answer]) -> None:
    """Nobody waits for it: what it was told is not to be reported as overlooked."""
    if not told.cancel() and not told.cancelled():
        told.exception()
