"""Any bytes to both ends of SOCKS: only the documented errors come out.

Run: python tests/fuzz/fuzz_socks.py -max_total_time=20
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["byway"]):
    from byway.errors import PeerError, Refused
    from byway.flow import Target
    from byway.interfaces import Stream
    from byway.protocols import address, socks
    from byway.protocols.credentials import verifier
    from byway.protocols.socks import SocksOptions
    from byway.streams.memory import play, scripted

USERS = verifier({"ann": "secret", "bob": ""})
EXAMPLE = Target.of("192.0.2.1", 80)


def one_input(data: bytes) -> None:
    """The first byte picks the end and where the rest is cut; the rest is what the peer says."""
    if not data:
        return
    kind, cut = data[0] % 5, data[0] // 5
    said = data[1:]
    near, far = scripted(*[part for part in (said[:cut], said[cut:]) if part])
    try:
        if kind == 0:
            play(serve(near))
        elif kind == 1:
            play(socks.accept(near, USERS))
        elif kind == 2:
            play(socks.bind(near, EXAMPLE, SocksOptions("5", "ann", "secret"), EXAMPLE))
        elif kind == 3:
            play(socks.bind(near, EXAMPLE, SocksOptions("4"), EXAMPLE))
        else:
            check_address(said)
    except (PeerError, Refused, EOFError):
        pass
    far.close()


async def serve(stream: Stream) -> None:
    """Whatever is accepted can be answered."""
    request = await socks.accept(stream)
    await socks.grant(stream, request, request.target)


def check_address(said: bytes) -> None:
    """What was read can be written, and then reads the same."""
    found = address.unpack(said)
    if found is not None:
        written = address.pack(found[0])
        if address.unpack(written) != (found[0], len(written)):
            raise AssertionError(found)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
