"""A transport that only tests know: a knock and an answer, and then the stream as it is."""

from __future__ import annotations

from typing import Literal

from byway.engine import Engine, EngineStream
from byway.errors import PeerError
from byway.inbounds.entry import Entry, Greet, Met
from byway.interfaces import Stream
from byway.outbounds.reach import Layer
from byway.transports.card import Transport
from byway.values.texts import Password


class Knock(Transport):
    """Knock before speaking."""

    type: Literal["knock"]
    word: Password
    """What is said."""

    def layer(self, host: str, engine: Engine) -> Layer:
        """Knock, and wait to be let in."""
        word = self.word.get_secret_value().encode() + b"\n"

        async def knocked(stream: Stream) -> Stream:
            await stream.write(word)
            if await stream.read_exactly(3) != b"in\n":
                raise PeerError("nobody lets us in")
            return stream

        return knocked

    def greeting(self, entry: Entry, greet: Greet, elsewhere: Greet) -> Greet:
        """Let in who knocks."""
        word = self.word.get_secret_value().encode() + b"\n"

        async def opened(stream: EngineStream) -> Met:
            if await stream.read_until(b"\n", 64) != word:
                raise PeerError("a stranger knocks")
            await stream.write(b"in\n")
            return await greet(stream)

        return opened


TRANSPORT = Knock
