"""The lab's DNS server, over UDP and TCP: `names ZONE.json`, a table of name to addresses.

The file is read again when it changes. A name is looked up whole, then as `*.` and its parents.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

from byway.lab.dnswire import answer, parse_query

_UDP_LIMIT = 1232


class Zone:
    """The names this server knows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = (0, 0)
        self._names: dict[str, list[str]] = {}

    def respond(self, message: bytes, limit: int) -> bytes | None:
        """The response to a query, or None for what is not one."""
        question = parse_query(message)
        if question is None:
            return None
        stat = os.stat(self._path)
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._stamp:
            self._names = json.loads(self._path.read_text())
            self._stamp = stamp
        return answer(question, self._find(question.name), limit=limit)

    def _find(self, name: str) -> list[str] | None:
        if name in self._names:
            return self._names[name]
        while "." in name:
            name = name.partition(".")[2]
            if f"*.{name}" in self._names:
                return self._names[f"*.{name}"]
        return None


def _udp_socket() -> socket.socket:
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    udp.bind(("::", 53))
    udp.setblocking(False)
    return udp


def _answer_packets(udp: socket.socket, zone: Zone) -> None:
    """Answer one packet, from the very address it was sent to."""
    try:
        message, info, _flags, source = udp.recvmsg(4096, 128)
    except BlockingIOError:
        return
    response = zone.respond(message, _UDP_LIMIT)
    if response is not None:
        # in6_pktinfo is the address and an interface index; 0 lets the routes choose
        told = [(level, kind, data[:16] + bytes(4)) for level, kind, data in info]
        udp.sendmsg([response], told, 0, source)


async def serve(zone: Zone) -> None:
    """Serve until cancelled."""
    udp = _udp_socket()
    loop = asyncio.get_running_loop()
    loop.add_reader(udp, _answer_packets, udp, zone)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                response = zone.respond(await reader.readexactly(size), 65535)
                if response is None:
                    break
                writer.write(len(response).to_bytes(2, "big") + response)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, None, 53)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Zone(Path(sys.argv[1]))))
