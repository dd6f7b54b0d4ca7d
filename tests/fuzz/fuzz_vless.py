"""Any bytes to a VLESS server: a request, or all untouched.

Run: python tests/fuzz/fuzz_vless.py -max_total_time=20
"""

from __future__ import annotations

import contextlib
import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["byway"]):
    from byway.errors import PeerError
    from byway.interfaces import Stream
    from byway.protocols import vless
    from byway.streams.memory import play, scripted

UUID = "b831381d-6324-4d53-ad4f-8cda48b30811"
USERS = vless.Users({"ann": UUID})


def one_input(data: bytes) -> None:
    """The first byte says whether the user is right, the second where the rest is cut."""
    if len(data) < 3:
        return
    known, cut, said = data[0] % 2, data[1], data[2:]
    if known:
        said = b"\0" + vless.id_of(UUID) + said
    near, far = scripted(*[part for part in (said[:cut], said[cut:]) if part], end=True)
    with contextlib.suppress(PeerError, EOFError):
        play(asked(near, said))
    far.close()


async def asked(stream: Stream, said: bytes) -> None:
    """Whatever was not a request is left as it came; behind one, the rest is."""
    found = await vless.accept(stream, USERS)
    rest = b""
    try:
        while True:
            rest += await stream.read()
    except EOFError:
        pass
    if (found is None and rest != said) or not said.endswith(rest):
        raise AssertionError(rest)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
