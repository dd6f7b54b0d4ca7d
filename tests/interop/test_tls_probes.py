"""A prober sends what is TLS at first sight to our trojan server, to nginx, and to openssl.

What ours does must be what a web server does. nginx is one; openssl's own server stands beside it,
to show that nginx's answers are those of OpenSSL.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.interop.byway import byway
from tests.interop.conftest import Certificate, Origin
from tests.interop.programs import free_port, need, running
from tests.interop.sealed import HOST
from tests.interop.test_sealed import inbound
from tests.interop.tls_probes import probed, probes


@contextmanager
def nginx(folder: Path, certificate: Certificate) -> Iterator[int]:
    """nginx, with one site in TLS."""
    port, home = free_port(), folder / "nginx"
    home.mkdir()
    temporary = "".join(
        f"{what}_temp_path {home}/{what};"
        for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = home / "nginx.conf"
    config.write_text(f"""
        daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
        events {{}}
        http {{
            access_log off; {temporary}
            server {{
                listen {HOST}:{port} ssl http2; server_name localhost;
                ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};
                ssl_protocols TLSv1.2 TLSv1.3;
            }}
        }}
    """)
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or need("nginx")
    with running([program, "-c", str(config)], folder / "nginx.log", port):
        yield port


@contextmanager
def openssl(folder: Path, certificate: Certificate) -> Iterator[int]:
    """openssl's own server, which is no web server."""
    port = free_port()
    command = [need("openssl"), "s_server", "-accept", f"{HOST}:{port}", "-quiet"]
    command += ["-cert", str(certificate.chain), "-key", str(certificate.key)]
    command += ["-alpn", "h2,http/1.1", "-no_tls1", "-no_tls1_1", "-naccept", "100000"]
    with running(command, folder / "openssl.log", port):
        yield port


@contextmanager
def ours(folder: Path, certificate: Certificate, origin: Origin) -> Iterator[int]:
    """Our trojan server."""
    port = free_port()
    tls = {"cert": str(certificate.chain), "key": str(certificate.key), "alpn": ["h2", "http/1.1"]}
    users = {"name": "ann", "password": "correct horse"}
    site = f"{HOST}:{origin.http}"
    with byway(inbound("trojan", port, users=users, tls=tls, fallback=site), folder):
        yield port


@pytest.mark.timeout(300)
def test_what_is_no_tls_gets_what_a_web_server_gives(
    origin: Origin, certificate: Certificate, tmp_path: Path
) -> None:
    with (
        nginx(tmp_path, certificate) as web,
        ours(tmp_path, certificate, origin) as here,
    ):
        different: list[str] = []
        for name, sent in probes().items():
            for half_close in (False, True):
                theirs = probed(web, sent, half_close=half_close)
                own = probed(here, sent, half_close=half_close)
                if own != theirs:
                    end = ", then the end" if half_close else ""
                    different.append(f"{name}{end}: {theirs}, ours {own}")
    assert not different, "\n".join(different)
