"""A small limit on open files: one source that takes all it can does not shut others out."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

from tests.interop.byway import Byway, listening
from tests.interop.conftest import Origin
from tests.interop.origin import content
from tests.interop.programs import free_port, need, run

CLIENTS = 123
ORIGINS = 8  # that each client keeps a connection to


def test_kept_connections_of_one_source_leave_room_for_others(
    tmp_path: Path, origin: Origin
) -> None:
    port = free_port()
    before = (need("prlimit"), "--nofile=1024:1024", "--")
    program = Byway(listening(port), tmp_path, before=before)
    with ExitStack() as stack:
        stack.callback(program.stop)
        program.ready()
        doors = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=CLIENTS))
            for _ in range(ORIGINS)
        ]
        held: list[socket.socket] = []
        for _ in range(CLIENTS):
            link = stack.enter_context(
                socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.2", 0))
            )
            for door in doors:
                where = f"127.0.0.1:{door.getsockname()[1]}"
                link.sendall(f"GET http://{where}/ HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
                far, _ = door.accept()
                held.append(stack.enter_context(far))
                far.recv(4096)
                far.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                got = b""
                while not got.endswith(b"ok"):
                    more = link.recv(4096)
                    assert more
                    got += more
        for scheme in ("http", "socks5h"):
            for _ in range(10):
                curl = (need("curl"), "-q", "-sS", "-f", "--noproxy", "", "-m", "10")
                done = run(*curl, "-x", f"{scheme}://127.0.0.1:{port}", origin.url("/bytes/5000"))
                assert done.returncode == 0, done.stderr
                assert done.stdout == content(5000)
        assert "Too many open files" not in program.log
