"""Any first bytes: no exception, and only answers that there are.

Run: python tests/fuzz/fuzz_sniffing.py -max_total_time=20
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports(include=["byway"]):
    from byway.facts import hello, quic
    from byway.facts.sniffing import sniff_packets, sniff_stream
    from byway.flow import PROTOCOLS, UNHEARD
    from byway.streams.ciphers import PureCiphers

PURE = PureCiphers()


def one_input(data: bytes) -> None:
    """The first byte picks the parser, and how many packets the rest is."""
    if not data:
        return
    kind, rest = data[0] % 4, data[1:]
    if kind == 0:
        check(*sniff_stream(rest))
    elif kind == 1:
        size = data[0] // 4 + 1
        packets = [rest[at : at + size * 20] for at in range(0, len(rest), size * 20)]
        check(*sniff_packets(packets, PURE))
    elif kind == 2:
        try:
            hello.server_name(rest)
        except hello.Malformed:
            return
    else:
        try:
            for offset, _ in quic._crypto_frames(rest):
                if offset < 0:
                    raise AssertionError(offset)
        except hello.Malformed:
            return


def check(seen: object, done: bool) -> None:
    """Answers are of the known kinds."""
    if seen != UNHEARD and getattr(seen, "protocol", None) not in PROTOCOLS:
        raise AssertionError((seen, done))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
