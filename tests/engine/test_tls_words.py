"""Failed TLS handshakes in plain words."""

from __future__ import annotations

import pytest

from byway.engine.tls_words import explained
from byway.errors import PeerError


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("invalid peer certificate: UnknownIssuer", "signed by an unknown authority"),
        ("invalid peer certificate: ApplicationVerificationFailure", "not match the pins"),
        (
            "invalid peer certificate: certificate expired: verification time 1795397087 (UNIX),"
            " but certificate is not valid after 1609459200 (185937887 seconds ago)",
            r"expired on 2021-01-01 \(or this host's clock is wrong\)$",
        ),
        (
            "invalid peer certificate: certificate not valid yet: verification time 1 (UNIX),"
            " but certificate is not valid before 1893456000 (9 seconds in the future)",
            "is not valid before 2030-01-01",
        ),
        (
            'invalid peer certificate: certificate not valid for name "a.example";'
            ' certificate is only valid for DnsName("b.example")',
            'not valid for name "a.example"; certificate is only valid for b.example$',
        ),
        ("received fatal alert: ProtocolVersion", "speaks neither TLS 1.2 nor 1.3"),
        ("received fatal alert: NoApplicationProtocol", "ALPN"),
        ("received corrupt message of type InvalidContentType", "does not speak TLS"),
        ("peer sent no certificates", "sent no certificate"),
    ],
)
def test_what_failed_is_said_plainly(said: str, words: str) -> None:
    with pytest.raises(PeerError, match=words):
        raise explained(PeerError(f"TLS: {said}", "a hint"))


def test_what_is_not_known_stays_as_it_is() -> None:
    for text in ("TLS: something new", "TLS: received fatal alert: InternalError", "other"):
        error = PeerError(text)
        assert explained(error) is error
