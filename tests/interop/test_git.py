"""git over an HTTP and a SOCKS proxy: clone, push and fetch with git's own server program."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.interop.origin import content
from tests.interop.programs import CLEAN, need, run, told


class Backend(BaseHTTPRequestHandler):
    """Hands each request to `git http-backend`, as a web server does (CGI, RFC 3875)."""

    protocol_version = "HTTP/1.1"
    server: GitServer

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(100), 16):
                body += self.rfile.read(size)
                self.rfile.readline(3)
            self.rfile.readline(3)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        env = {
            **CLEAN,
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "tester",
            "REMOTE_ADDR": "127.0.0.1",
        }
        command = [need("git"), "http-backend"]
        done = subprocess.run(command, input=body, capture_output=True, env=env, check=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")]
        status = next((int(v.split()[0]) for k, v in fields if k == "Status"), 200)
        self.send_response(status)
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


class GitServer(ThreadingHTTPServer):
    """A web server of git repositories below `root`."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        self.root = root
        super().__init__(("127.0.0.1", 0), Backend)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty repository that takes pushes."""
    root = tmp_path / "served"
    root.mkdir()
    told(_git(tmp_path, "init", "-q", "--bare", str(root / "repo.git")))
    told(_git(root / "repo.git", "config", "http.receivepack", "true"))
    with GitServer(root) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/repo.git"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_clones_and_pushes(scheme: str, port: int, repository: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    proxy = f"http.proxy={scheme}://127.0.0.1:{port}"
    told(_git(tmp_path, "-c", proxy, "clone", "-q", repository, str(first)))
    (first / "file").write_bytes(content(3_000_000))
    told(_git(first, "add", "file"))
    told(_git(first, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "one"))
    told(_git(first, "-c", proxy, "push", "-q", "origin", "HEAD:main"))
    told(_git(tmp_path, "-c", proxy, "clone", "-q", "-b", "main", repository, str(second)))
    assert (second / "file").read_bytes() == content(3_000_000)


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    env = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "no_proxy": ""}
    return run(need("git"), "-C", folder, *words, env=env)
