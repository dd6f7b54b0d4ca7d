"""Any bytes to an HTTP proxy and its client: only the documented errors come out.

What is forwarded must again be a message that frames its body in one way only.
Run: python tests/fuzz/fuzz_http.py -max_total_time=20
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["byway"]):
    from byway.errors import PeerError, Refused
    from byway.flow import Target
    from byway.protocols import http, http_forward
    from byway.protocols.credentials import verifier
    from byway.streams.memory import play, scripted

USERS = verifier({"u": "p:w"})
EXAMPLE = Target.of("example.com", 443)


def one_input(data: bytes) -> None:
    """The first byte picks the end and where the rest is cut; the rest is what the peer says."""
    if not data:
        return
    kind, cut = data[0] % 4, data[0] // 4
    said = data[1:]
    near, far = scripted(*[part for part in (said[:cut], said[cut:]) if part])
    try:
        if kind == 0:
            play(http.accept(near, USERS, limit=4096))
        elif kind == 1:
            play(http.connect(near, EXAMPLE))
        else:
            forward(said)
    except (PeerError, Refused, EOFError):
        pass
    far.close()


def forward(said: bytes) -> None:
    """Forward what the bytes before the first NUL ask, and what those after it answer."""
    asked, _, answered = said.partition(b"\0")
    near, client = scripted(b"POST http://a/ HTTP/1.1\r\n" + asked + b"\r\n\r\n")
    request = play(http.accept(near))
    forth = http_forward.outgoing(request)
    head = play(http.read_request(scripted(forth.head)[0]))
    if http_forward.request_length(head) != forth.body:
        raise AssertionError((request, forth))
    response = http.parse_response(answered)
    back = http_forward.incoming(response, request, keep_near=forth.keep)
    if back.head and not (back.body.dechunk or back.is_switched or back.is_interim):
        reply = play(http.read_response(scripted(back.head)[0]))
        if http_forward.response_length(reply, "POST") != back.body:
            raise AssertionError((response, back))
    client.close()


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
