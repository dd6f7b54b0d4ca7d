"""`TOY | command | length | password | address`, and nothing is answered; sans-IO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from byway.errors import PeerError
from byway.flow import Target
from byway.interfaces import Stream
from byway.protocols import address

MAGIC = b"TOY"
END = b"\r\n"
"""What ends the head of a stream of packets, behind the first one's address."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for; without a target for packets."""

    user: str
    target: Target
    packets: bool


def head(password: str, target: Target | None) -> bytes:
    """What a client begins with; the engine adds the first packet's address where it is packets."""
    word = password.encode()
    begun = MAGIC + bytes([target is None, len(word)]) + word
    return begun if target is None else begun + address.pack(target)


async def accept(stream: Stream, words: Mapping[str, str]) -> Request:
    """Hear a client out. Raises PeerError for one that is none of ours."""
    begun = await stream.read_exactly(5)
    if begun[:3] != MAGIC:
        raise PeerError("not a toy client")
    word = (await stream.read_exactly(begun[4])).decode(errors="replace")
    if word not in words:
        raise PeerError("nobody has this password")
    packets = begun[3] == 1
    target = await _target(stream)
    if packets:
        await stream.read_exactly(len(END))
    return Request(words[word], target, packets)


async def _target(stream: Stream) -> Target:
    begun = await stream.read_exactly(2)
    sizes = {address.IPV4: 7, address.IPV6: 19, address.NAME: begun[1] + 4}
    if begun[0] not in sizes:
        raise PeerError("an unknown address type")
    found = address.unpack(begun + await stream.read_exactly(sizes[begun[0]] - 2))
    assert found is not None
    return found[0]
