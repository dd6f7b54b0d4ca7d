"""The ground of the interop tests: an origin web server, and Byways to go through."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.byway import USERS, proxying
from tests.interop.hosts import Hosts, three_hosts
from tests.interop.origin import Server
from tests.interop.programs import need, run, told
from tests.machine import LOOPBACKS


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the origin web server answers, and the certificate it shows."""

    http: int
    http6: int
    https: int
    https6: int
    certificate: Path

    def url(self, path: str, host: str = "127.0.0.1", *, tls: bool = False) -> str:
        """A URL of the origin, by IPv4, IPv6 (`::1`) or name."""
        v6 = ":" in host
        port = (self.https6 if v6 else self.https) if tls else (self.http6 if v6 else self.http)
        place = f"[{host}]" if v6 else host
        return f"{'https' if tls else 'http'}://{place}:{port}{path}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate for the names and addresses of loopback."""

    chain: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """The TLS settings of a server that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Made by the real openssl, once."""
    folder = tmp_path_factory.mktemp("certificate")
    chain, key = folder / "chain.pem", folder / "key.pem"
    told(
        run(
            *(need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"),
            *("-keyout", key, "-out", chain),
        )
    )
    return Certificate(chain, key)


@pytest.fixture(scope="session")
def origin(certificate: Certificate) -> Iterator[Origin]:
    """The origin over TCP and TLS, on IPv4 and IPv6."""
    tls = certificate.server()
    with ExitStack() as stack:
        ports = []
        for context in (None, tls):
            for host in ("127.0.0.1", LOOPBACKS[-1]):  # twice the same without IPv6
                server = stack.enter_context(Server(host, 0, context))
                thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
                thread.start()
                stack.callback(thread.join)
                stack.callback(server.shutdown)
                ports.append(server.port)
        http, http6, https, https6 = ports
        yield Origin(http, http6, https, https6, certificate.chain)


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a mixed proxy that asks nobody who they are."""
    with proxying(tmp_path_factory.mktemp("open")) as port:
        yield port


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a mixed proxy that knows two users."""
    with proxying(tmp_path_factory.mktemp("guarded"), users=USERS) as port:
        yield port


@pytest.fixture(scope="session")
def hosts() -> Iterator[Hosts]:
    """Three hosts and two links, gone afterwards."""
    with three_hosts() as made:
        yield made
