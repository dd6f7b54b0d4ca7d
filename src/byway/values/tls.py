"""TLS at both ends: how a server that is connected to is trusted, and what a listener shows."""

from __future__ import annotations

from typing import Annotated

from byway.values.section import Section
from byway.values.texts import Alpn, FilePath, OneOrMany, Pin, ServerName


class ClientTls(Section):
    """TLS to a server."""

    sni: ServerName | None = None
    """The name to ask for, and to find in its certificate; none: the server's own."""
    alpn: Annotated[tuple[Alpn, ...], OneOrMany(empty=True)] = ()
    """The protocols to offer (RFC 7301)."""
    ca: FilePath | None = None
    """Trust only these authorities (PEM); none: those of the system."""
    pin: Annotated[tuple[Pin, ...], OneOrMany(empty=True)] = ()
    """Trust only these: the SHA-256 of the certificate or of its public key, in hex or base64."""
    insecure: bool = False
    """Verify nothing: anyone on the path can read and change the traffic."""
    resume: bool = True
    """Resume earlier sessions, which saves most of a handshake."""
    cert: FilePath | None = None
    """The client certificate, as PEM."""
    key: FilePath | None = None
    """Its private key, as PEM."""


class ServerTls(Section):
    """TLS of a listener."""

    cert: FilePath
    """The certificate with its chain, as PEM. It is read again when the file changes."""
    key: FilePath
    """Its private key, as PEM."""
    alpn: Annotated[tuple[Alpn, ...], OneOrMany(empty=True)] = ()
    """The supported protocols (RFC 7301), the best first; none: whatever the client offers."""
    ca: FilePath | None = None
    """Require a client certificate of one of these authorities (PEM)."""
