"""ssh through ProxyCommand, with the nc that Debian's own manual recommends, to a real sshd."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.origin import content
from tests.interop.programs import free_port, need, run, running, told

PRIVILEGE_SEPARATION = Path("/run/sshd")


@dataclass(frozen=True, slots=True)
class Sshd:
    """Where sshd listens, and the key that opens it."""

    port: int
    key: Path


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A real sshd on loopback, for the user who runs the tests, by a key made for it."""
    program = need("sshd")
    folder = tmp_path_factory.mktemp("sshd")
    key, host = folder / "key", folder / "host"
    for file in (key, host):
        told(run(need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", file))
    (folder / "authorized").write_bytes((folder / "key.pub").read_bytes())
    port = free_port()
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {host}\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "PermitRootLogin yes\nUseDNS no\n"
    )
    made = os.geteuid() == 0 and not PRIVILEGE_SEPARATION.exists()
    if made:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755)
    try:
        command = [program, "-D", "-e", "-f", str(folder / "sshd_config")]
        with running(command, folder / "sshd.log", port):
            yield Sshd(port, key)
    finally:
        if made:
            PRIVILEGE_SEPARATION.rmdir()


@pytest.mark.parametrize("version", ["5", "4", "connect"])
def test_runs_a_command_through_the_proxy(version: str, port: int, sshd: Sshd) -> None:
    body = content(5_000_000)
    proxy = f"ProxyCommand={need('nc')} -X {version} -x 127.0.0.1:{port} %h %p"
    options = [
        *(word for option in _OPTIONS for word in ("-o", option)),
        *("-o", proxy, "-i", str(sshd.key), "-p", str(sshd.port)),
    ]
    command = (need("ssh"), "-F", "none", *options, "127.0.0.1", "sha256sum; uname -s")
    answer = told(run(*command, data=body)).decode()
    assert hashlib.sha256(body).hexdigest() in answer
    assert "Linux" in answer


_OPTIONS = [
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
]
