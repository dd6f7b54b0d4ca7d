"""Any bytes of a DNS client: an answer, or a refusal to answer, and nothing else comes out.

Run: python tests/fuzz/fuzz_queries.py -max_total_time=20
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["byway", "dns"]):
    from byway.dns import reply
    from byway.dns.reply import Unanswered

HEAD = b"\0\7\1\0\0\1\0\0\0\0\0\0"


def one_input(data: bytes) -> None:
    """Half of the inputs get a sound head."""
    wire = HEAD + data[1:] if data[:1] < b"\x80" else data[1:]
    try:
        asked = reply.read(wire)
    except Unanswered as none:
        if none.reply is not None and none.reply[:2] != wire[:2]:
            raise AssertionError(none.reply) from None
        return
    said = reply.made(asked.message, reply.NOERROR, reply.addresses(asked, [bytes(4)], 1))
    if reply.sized(said, asked.message, False)[:2] != wire[:2]:
        raise AssertionError(wire)
    reply.reversed_address(asked.name)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
