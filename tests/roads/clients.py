"""Clients of the tests' own, which share no code with Byway's protocols."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from collections.abc import Awaitable, Callable

from byway.flow import Target

Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Ask = Callable[[Link, Target], Awaitable[int]]
"""Asks for a target; 0 is yes, else the protocol's own code."""


async def linked(place: Target | str) -> Link:
    """A connection to an inbound (a path: a unix socket)."""
    if isinstance(place, str):
        return await asyncio.open_unix_connection(place)
    return await asyncio.open_connection(place.host, place.port)


async def socks5(link: Link, target: Target, login: tuple[str, str] | None = None) -> int:
    """CONNECT by SOCKS5; addresses go as they are, names as names."""
    return (await socks5_asked(link, 1, target, login))[0]


async def socks5_asked(
    link: Link, command: int, target: Target, login: tuple[str, str] | None = None
) -> tuple[int, Target | None]:
    """Any command: the reply code and the address in it."""
    reader, writer = link
    writer.write(b"\5\1\2" if login else b"\5\1\0")
    if (await reader.readexactly(2))[1] == 0xFF:
        return 0xFF, None
    if login:
        name, word = login[0].encode(), login[1].encode()
        writer.write(b"\1%c%b%c%b" % (len(name), name, len(word), word))
        if (await reader.readexactly(2))[1]:
            return 0xFE, None
    writer.write(b"\5%c\0%b" % (command, packed(target)))
    return await socks5_reply(link)


async def socks5_reply(link: Link) -> tuple[int, Target | None]:
    """A reply: its code and address."""
    reader, _ = link
    head = await reader.readexactly(4)
    size = {1: 4, 4: 16}[head[3]]
    address = await reader.readexactly(size + 2)
    return head[1], Target.from_packed(address[:size], int.from_bytes(address[size:]))


def packed(target: Target) -> bytes:
    """RFC 1928 section 5."""
    port = target.port.to_bytes(2)
    if target.packed is None:
        name = target.full.encode()
        return b"\3%c%b%b" % (len(name), name, port)
    return (b"\1" if len(target.packed) == 4 else b"\4") + target.packed + port


async def socks4a(link: Link, target: Target) -> int:
    """CONNECT by SOCKS4, or 4a for names."""
    reader, writer = link
    address = target.packed or b"\0\0\0\1"
    name = b"" if target.packed else target.full.encode() + b"\0"
    writer.write(b"\4\1%b%b\0%b" % (target.port.to_bytes(2), address, name))
    code = (await reader.readexactly(8))[1]
    return 0 if code == 0x5A else code


async def http(link: Link, target: Target, login: tuple[str, str] | None = None) -> int:
    """CONNECT by HTTP."""
    reader, writer = link
    secret = base64.b64encode(":".join(login).encode()).decode() if login else ""
    field = f"Proxy-Authorization: Basic {secret}\r\n" if login else ""
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{field}\r\n".encode())
    status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
    return 0 if status == 200 else status


async def said(link: Link, data: bytes) -> bytes:
    """Say something and read as much back."""
    reader, writer = link
    writer.write(data)
    return await reader.readexactly(len(data))


async def left(link: Link) -> None:
    """Close and wait until it is."""
    link[1].close()
    with contextlib.suppress(ConnectionError):
        await link[1].wait_closed()


def closed_port() -> Target:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Target.of("127.0.0.1", probe.getsockname()[1])
