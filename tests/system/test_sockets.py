"""Which socket a flow came from, asked of the real kernel about real sockets, and of /proc/net."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from errno import EPERM
from typing import NoReturn

import pytest

from byway.flow import Network, Target
from byway.system import sockets
from byway.system.sockets import socket_of
from tests.machine import needs_ipv6


@pytest.fixture(params=["netlink", "tables"])
def asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By netlink, and as where a sandbox forbids it."""
    if request.param == "tables":

        def forbidden(body: bytes, flags: int) -> NoReturn:
            raise OSError(EPERM, "forbidden")

        monkeypatch.setattr(sockets, "_asked", forbidden)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What is closed at the end."""
    with ExitStack() as stack:
        yield stack


def inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


def found(source: tuple[str, int], network: Network, end: Target | None) -> int | None:
    one = socket_of(Target.of(*source[:2]), network, end)
    return None if one is None else one.inode


LOOPBACKS = pytest.mark.parametrize(
    "loopback", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)]
)


@LOOPBACKS
def test_two_connections_from_one_port_are_told_apart(
    loopback: str, opened: ExitStack, asked: None
) -> None:
    family = socket.AF_INET6 if ":" in loopback else socket.AF_INET
    servers = [
        opened.enter_context(socket.create_server((loopback, 0), family=family)) for _ in "ab"
    ]
    clients, port = [], 0
    for server in servers:
        client = opened.enter_context(socket.socket(family))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        client.bind((loopback, port))
        client.connect(server.getsockname()[:2])
        port = client.getsockname()[1]
        clients.append(client)

    ends = [Target.of(loopback, server.getsockname()[1]) for server in servers]
    answers = [found((loopback, port), Network.TCP, end) for end in ends]

    assert answers == [inode(client) for client in clients]
    assert found((loopback, port), Network.TCP, None) is None  # either would do
    assert found((loopback, port), Network.TCP, Target.of(loopback, port)) is None


@needs_ipv6
def test_a_v4_flow_of_a_v6_socket_is_found(opened: ExitStack, asked: None) -> None:
    server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    client = opened.enter_context(socket.socket(socket.AF_INET6))
    client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
    port = client.getsockname()[1]

    end = Target.of(*server.getsockname())
    assert found(("127.0.0.1", port), Network.TCP, end) == inode(client)


@pytest.mark.parametrize(
    "bound", ["127.0.0.1", "0.0.0.0", *(pytest.param(a, marks=needs_ipv6) for a in ("::",))]
)
def test_a_socket_that_is_not_connected_sends_anywhere(
    bound: str, opened: ExitStack, asked: None
) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    client = opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
    client.bind((bound, 0))
    port = client.getsockname()[1]

    for end in (Target.of("192.0.2.1", 53), Target.of("127.0.0.1", port), None):
        assert found(("127.0.0.1", port), Network.UDP, end) == inode(client)
    other_host = found(("192.0.2.7", port), Network.UDP, Target.of("192.0.2.1", 53))
    assert other_host is None
    assert found(("127.0.0.1", port), Network.TCP, Target.of("192.0.2.1", 53)) is None


def test_a_connected_socket_goes_before_one_that_is_not(opened: ExitStack, asked: None) -> None:
    anyone, connected = (opened.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in "ab")
    for one in (anyone, connected):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    anyone.bind(("127.0.0.1", 0))
    port = anyone.getsockname()[1]
    connected.bind(("127.0.0.1", port))
    connected.connect(("127.0.0.1", 9))

    assert found(("127.0.0.1", port), Network.UDP, Target.of("127.0.0.1", 9)) == inode(connected)
    assert found(("127.0.0.1", port), Network.UDP, Target.of("127.0.0.1", 7)) == inode(anyone)


def test_a_listener_is_not_where_a_flow_came_from(opened: ExitStack, asked: None) -> None:
    server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    place = server.getsockname()

    assert found(place, Network.TCP, Target.of("127.0.0.1", 1)) is None
    assert found(place, Network.TCP, None) is None
    assert socket_of(Target.of("a.example", 1), Network.TCP, None) is None
