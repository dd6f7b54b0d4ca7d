"""Whose socket it is, asked of the real kernel about real programs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from byway.errors import Unreachable
from byway.facts.finder import Finder
from byway.flow import Flow, Hop, Network, Process, Target
from byway.rules import NO_FACTS, Fact, Lacks
from byway.system.processes import NOBODY, Owners, _described, owner_of
from tests.machine import needs_ipv6

OWN = os.path.realpath(sys.executable)


@pytest.mark.parametrize(
    "family", [socket.AF_INET, pytest.param(socket.AF_INET6, marks=needs_ipv6)]
)
def test_our_own_sockets_are_ours(family: socket.AddressFamily) -> None:
    loopback = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((loopback, 0), family=family) as server:
        port = server.getsockname()[1]
        with socket.create_connection((loopback, port)) as client:
            source = Target.of(loopback, client.getsockname()[1])
            found = owner_of(source, Network.TCP)

    assert (found.path, found.name) == (OWN, os.path.basename(OWN))
    assert found.uid == os.getuid()
    assert found.cgroup.startswith("/") or not found.cgroup


def test_an_ipv4_flow_of_an_ipv6_socket_is_found() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET6) as client,
    ):
        client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        source = Target.of("127.0.0.1", client.getsockname()[1])
        assert owner_of(source, Network.TCP).path == OWN


def test_a_socket_bound_to_any_address_is_meant_on_loopback_alone() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.bind(("0.0.0.0", 0))
        port = client.getsockname()[1]
        assert owner_of(Target.of("127.0.0.1", port), Network.UDP).path == OWN
        assert owner_of(Target.of("192.0.2.1", port), Network.UDP) == NOBODY
        assert owner_of(Target.of("127.0.0.1", port), Network.TCP) == NOBODY


def test_another_program_is_found() -> None:
    talk = (
        "import socket, sys; c = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
        "print(c.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        subprocess.Popen(
            [sys.executable, "-c", talk, str(server.getsockname()[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other,
    ):
        assert other.stdout is not None
        source = Target.of("127.0.0.1", int(other.stdout.readline()))
        inherited = owner_of(source, Network.TCP)
        other.communicate()

    assert inherited.path == OWN


def test_a_name_is_nobody() -> None:
    assert owner_of(Target.of("name.example", 1), Network.TCP) == NOBODY


TALK = """
import os, socket, sys
link = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
link.set_inheritable(True)
print(link.getsockname()[1], flush=True)
for line in sys.stdin:
    if line == 'exec\\n':
        again = "import sys; print('again', flush=True); sys.stdin.readline()"
        os.execv(sys.executable, [sys.executable, '-c', again, 'second life'])
    if line == 'fork\\n' and os.fork():
        os._exit(0)
    print(os.getpid(), flush=True)
"""


def test_it_is_right_after_a_fork_and_an_exec_and_an_end() -> None:
    owners = Owners()
    with socket.create_server(("127.0.0.1", 0)) as server:
        end = Target.of(*server.getsockname())
        argv = [sys.executable, "-c", TALK, str(end.port), "first life"]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as other:
            assert other.stdin is not None
            assert other.stdout is not None
            source = Target.of("127.0.0.1", int(other.stdout.readline()))

            def asked(word: str) -> None:
                assert other.stdin is not None
                assert other.stdout is not None
                other.stdin.write(f"{word}\n")
                other.stdin.flush()
                other.stdout.readline()

            assert owners.of(source, Network.TCP, end).command.endswith("first life")
            asked("fork")
            assert other.wait(10) == 0
            assert owners.of(source, Network.TCP, end).command.endswith("first life")
            asked("exec")
            assert owners.of(source, Network.TCP, end).command.endswith("second life")
            asked("end")
        peer, _ = server.accept()
        with peer:
            peer.settimeout(10)
            assert peer.recv(1) == b""  # the last process is gone
        assert owners.of(source, Network.TCP, end) == NOBODY


@pytest.mark.parametrize(
    ("lines", "groups"),
    [
        ("0::/user.slice/a.scope\n", ["/user.slice/a.scope"]),
        ("4:memory:/m\n1:name=systemd:/s:x\n0::/\n", ["/s:x", "/m", "/"]),
        ("2:cpu,cpuacct:/c\n0::/unified\n", ["/unified", "/c"]),
        ("", []),
        ("nonsense\n", []),
    ],
)
def test_control_groups_of_both_versions(lines: str, groups: list[str], tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(lines)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        found = _described(folder, 7)
    finally:
        os.close(folder)
    assert [one for one in (found.cgroup, *found.cgroups) if one] == groups


class NoNames:
    """A resolver without names."""

    async def resolve(self, name: str) -> list[bytes]:
        raise Unreachable(name, "direct")


async def test_the_finder_finds_the_program_of_each_flow() -> None:
    finder = Finder(NoNames())
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        source = Target.of(*client.getsockname())
        flow = Flow(1, Network.TCP, "mixed", source, Target.of("h", 1))
        first = (await finder.find(Lacks(Fact.PROCESS), flow, NO_FACTS)).process
        known = replace(flow, hop=Hop(Network.TCP, Target.of(*server.getsockname())))
        second = (await finder.find(Lacks(Fact.PROCESS), known, NO_FACTS)).process
        elsewhere = replace(flow, hop=Hop(Network.TCP, Target.of("127.0.0.1", 1)))
        third = (await finder.find(Lacks(Fact.PROCESS), elsewhere, NO_FACTS)).process
        framed = replace(flow, network=Network.UDP)  # packets inside that connection
        fourth = (await finder.find(Lacks(Fact.PROCESS), framed, NO_FACTS)).process

    assert isinstance(first, Process)
    assert first.path == OWN
    assert second == fourth == first
    assert third == NOBODY
    unix = Flow(1, Network.TCP, "mixed", None, Target.of("h", 1))
    assert (await finder.find(Lacks(Fact.PROCESS), unix, NO_FACTS)).process == NOBODY
