"""Any bytes to a trojan server, to one of UDP over TCP and to a mux: a request, or all untouched.

Run: python tests/fuzz/fuzz_trojan.py -max_total_time=20
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["byway"]):
    from byway.errors import PeerError
    from byway.interfaces import Stream
    from byway.protocols import address, sing_mux, trojan, uot
    from byway.streams.memory import play, scripted

USERS = trojan.Users({"ann": "password"})
HASH = trojan.hash_of("password")


def one_input(data: bytes) -> None:
    """The first byte picks how much is right, the second where the rest is cut."""
    if len(data) < 2:
        return
    kind, cut, said = data[0] % 5, data[1], data[2:]
    said = (said, HASH + said, HASH + b"\r\n" + said, said, said)[kind]
    near, far = scripted(*[part for part in (said[:cut], said[cut:]) if part])
    try:
        if kind == 4:
            play(sing_mux.accept(near))
            play(sing_mux.accept_stream(near))
        elif kind == 3:
            play(packets(near))
        else:
            play(request(near, said))
    except (PeerError, EOFError):
        pass
    far.close()


async def request(stream: Stream, said: bytes) -> None:
    """Whatever was not a request is left as it came; behind one, the rest is."""
    found = await trojan.accept(stream, USERS)
    rest = b""
    while await stream.peek(1, 0):
        rest += await stream.read()
    if found is None:
        if rest != said:
            raise AssertionError(rest)
    elif not said.endswith(rest) or len(said) - len(rest) < len(HASH) + 5:
        raise AssertionError(found)


async def packets(stream: Stream) -> None:
    """A target that all packets are for can be written, and then reads the same."""
    target = await uot.accept(stream, uot.SERVER)
    if target is not None and address.unpack(address.pack(target)) is None:
        raise AssertionError(target)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
