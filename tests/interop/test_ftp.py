"""FTP by way of SOCKS: passive, and active by BIND, against a real vsftpd."""

from __future__ import annotations

import ftplib
import io
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop import socks_client
from tests.interop.origin import content
from tests.interop.programs import free_port, missing, need, run, running, told

SIZE = 2_000_003


class SocksFtp(ftplib.FTP):
    """ftplib with its two connections by way of a SOCKS5 proxy."""

    def __init__(self, proxy: socks_client.Place) -> None:
        super().__init__()
        self.proxy = proxy

    def open(self, host: str, port: int) -> None:
        """Connect the control connection and read the welcome."""
        self.host, self.port = host, port
        self.sock = socks_client.connect(self.proxy, (host, port))
        self.af = self.sock.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()

    def ntransfercmd(self, cmd: str, rest: Any = None) -> tuple[socket.socket, int | None]:
        """Open the data connection: by CONNECT when passive, by BIND when active."""
        if self.passiveserver:
            host, port = self.makepasv()
            data = socks_client.connect(self.proxy, (host, port))
            self._begun(cmd)
            return data, None
        data, (host, port) = socks_client.bind(self.proxy, (self.host, 0))
        self.sendport(host, port)
        self._begun(cmd)
        assert socks_client.accepted(data)[0] == self.host
        return data, None

    def _begun(self, cmd: str) -> None:
        answer = self.sendcmd(cmd)
        assert answer.startswith("1"), answer


@pytest.fixture(scope="module")
def ftp_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A vsftpd for anonymous people, with a file to fetch and a folder to write to."""
    vsftpd = need("vsftpd")
    if os.geteuid() != 0:
        missing("vsftpd changes its user and root, and needs root for it")
    folder = tmp_path_factory.mktemp("ftp")
    with vsftpd_serving(vsftpd, folder) as port:
        yield port


@contextmanager
def vsftpd_serving(vsftpd: str, folder: Path) -> Iterator[int]:
    """vsftpd on a free port of loopback. Its root must not be writable, a folder in it may be."""
    root, empty = folder / "root", folder / "empty"
    for path in (root, empty, root / "in"):
        path.mkdir()
    for path in (folder, *list(folder.parents)[:1]):
        path.chmod(0o755)
    root.chmod(0o555)
    (root / "in").chmod(0o777)
    (root / "file").write_bytes(content(SIZE))
    port = free_port()
    settings = {
        "listen": "YES",
        "listen_ipv6": "NO",
        "listen_address": "127.0.0.1",
        "listen_port": port,
        "background": "NO",
        "anonymous_enable": "YES",
        "no_anon_password": "YES",
        "anon_root": root,
        "write_enable": "YES",
        "anon_upload_enable": "YES",
        "anon_umask": "022",
        "connect_from_port_20": "NO",
        "secure_chroot_dir": empty,
        "seccomp_sandbox": "NO",
        "isolate": "NO",
        "isolate_network": "NO",
        "xferlog_enable": "NO",
    }
    file = folder / "vsftpd.conf"
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    with running([vsftpd, file], folder / "vsftpd.log", port):
        yield port


@pytest.mark.parametrize("passive", [True, False], ids=["passive", "active"])
def test_lists_fetches_and_stores(passive: bool, port: int, ftp_port: int) -> None:
    client = SocksFtp(("127.0.0.1", port))
    try:
        client.open("127.0.0.1", ftp_port)
        client.login()
        client.set_pasv(passive)
        assert sorted(client.nlst()) == ["file", "in"]
        got = io.BytesIO()
        client.retrbinary("RETR file", got.write)
        assert got.getvalue() == content(SIZE)
        name = f"in/{'passive' if passive else 'active'}"
        client.storbinary(f"STOR {name}", io.BytesIO(content(SIZE)))
        client.voidcmd("TYPE I")
        assert client.size(name) == SIZE
        client.quit()
    finally:
        client.close()


@pytest.mark.parametrize("scheme", ["socks5h", "socks4a", "http"])
def test_curl_fetches_passively(scheme: str, port: int, ftp_port: int) -> None:
    # -p: over an HTTP proxy, CONNECT for the control and the data connection.
    command = (need("curl"), "-q", "-sS", "-p", "--noproxy", "")
    url = f"ftp://127.0.0.1:{ftp_port}/file"
    assert told(run(*command, "-x", f"{scheme}://127.0.0.1:{port}", url)) == content(SIZE)
