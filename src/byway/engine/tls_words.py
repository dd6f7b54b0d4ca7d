"""What failed TLS handshakes mean, in words that say what to do. rustls' own name stays in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from byway.errors import PeerError

_ALERTS = {
    "UnknownCA": "the other side does not trust our certificate's issuer",
    "BadCertificate": "the other side does not accept our certificate",
    "CertificateUnknown": "the other side does not accept our certificate",
    "CertificateExpired": "the other side considers our certificate expired",
    "CertificateRequired": "the other side requires a client certificate",
    "AccessDenied": "the other side does not accept our certificate",
    "ProtocolVersion": "the other side speaks neither TLS 1.2 nor 1.3",
    "HandshakeFailure": "the two sides have no cipher in common, or a certificate is required",
    "NoApplicationProtocol": "the other side supports none of the ALPN protocols",
    "UnrecognisedName": "the other side has no site of this name",
}
_CERTIFICATE = {
    "UnknownIssuer": "the certificate is signed by an unknown authority",
    "ApplicationVerificationFailure": "the certificate does not match the pins",
    "NotValidForName": "the certificate is for another name",
    "Revoked": "the certificate was revoked",
}
_OTHERS = {
    "received corrupt message of type": "the other side does not speak TLS",
    "peer sent no certificates": "the client sent no certificate",
    "peer doesn't support any known protocol": "no ALPN protocol of the client is supported",
    "handshake not complete": "the connection ended during the handshake",
}
_TIMED = re.compile(r"not valid (after|before) (\d{1,11})\b")


def explained(error: PeerError) -> PeerError:
    """The same error in plain words, where there are any; of what class it was."""
    text = str(error)
    found = _found(text.removeprefix("TLS: "))
    return error if found is None else PeerError(f"TLS: {found}", error.hint)


@contextmanager
def plain_faults() -> Iterator[None]:
    """A ValueError for a certificate and key that do not belong together says so."""
    try:
        yield
    except ValueError as error:
        if "KeyMismatch" not in str(error):
            raise
        raise ValueError("the key does not belong to the certificate (KeyMismatch)") from None


def _found(text: str) -> str | None:
    head, _, tail = text.partition(": ")
    if head == "received fatal alert":
        return None if tail not in _ALERTS else f"{_ALERTS[tail]} (alert {tail})"
    if head == "invalid peer certificate":
        if tail in _CERTIFICATE:
            return f"{_CERTIFICATE[tail]} ({tail})"
        if timed := _TIMED.search(tail):
            day = datetime.fromtimestamp(int(timed[2]), UTC)
            word = "expired on" if timed[1] == "after" else "is not valid before"
            return f"the certificate {word} {day:%Y-%m-%d} (or this host's clock is wrong)"
        return re.sub(r'(?:DnsName|IpAddress)\("?([^")]*)"?\)', r"\1", tail)
    for known, words in _OTHERS.items():
        if text.startswith(known):
            return f"{words} ({text})"
    return None
