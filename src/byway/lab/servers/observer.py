"""The wall's observer: `observer DEVICE PCAP` watches what passes the device, and injects.

It is beside the road, not on it: it hears copies and can stop nothing. Against a query for a listed
name it sends a forged answer, which wins because the true one has farther to come; against a
connection in whose first bytes a listed name shows it sends resets to both ends, and again for
every further packet of that connection.

Orders come as JSON lines on stdin; each is answered by the line "done N" once all that had been
heard before it is dealt with: {"names": [...], "forged": [...], "hosts": [...], "ports": [...]},
{"flush": true}, {"forget": true}. At the end of stdin it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from byway.lab.capture import Recorder
from byway.lab.dnswire import answer, parse_query
from byway.lab.packets import ACK, RST, TCP, UDP, Packet, parse, tcp, udp
from byway.lab.servers import deepen
from byway.lab.sniff import Streams

_ETH_P_ALL = 3
_CONDEMNED = 4096
_WINDOWS = (0, 1460, 4380)  # later sequence numbers, in case the far side's bytes came meanwhile


class Observer:
    """Hears packets, judges them, and answers in others' names."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._streams = Streams()
        self._condemned: OrderedDict[object, None] = OrderedDict()
        self._names: list[str] = []
        self._hosts: list[str] = []
        self._forged: list[str] = []
        self._ports: list[int] = []
        self._raw4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def order(self, order: dict[str, Any]) -> None:
        """Change what is listed, or what is recorded."""
        if "names" in order:
            self._names, self._forged = order["names"], order["forged"]
            self._hosts, self._ports = order["hosts"], order["ports"]
            self._condemned.clear()
        if order.get("forget"):
            self._recorder.restart()
        self._recorder.flush()

    def hear(self, data: bytes) -> None:
        """One packet passed. Inject first, write down after: this is a race."""
        packet = parse(data)
        if packet is not None:
            if packet.protocol == UDP and packet.dport == 53:
                self._lie(packet)
            elif packet.protocol == TCP and not packet.flags & RST:
                self._cut(packet)
        self._recorder.add(data, time.time())

    def _lie(self, packet: Packet) -> None:
        question = parse_query(packet.payload)
        if question is not None and _listed(question.name, self._names):
            lie = answer(question, self._forged, ttl=300)
            self._send(udp(packet.dst, 53, packet.src, packet.sport, lie), packet.src)

    def _cut(self, packet: Packet) -> None:
        if packet.flow not in self._condemned:
            if self._ports and packet.dport not in self._ports and packet.dport != 53:
                return
            name = self._streams.name(packet)
            listed = self._names if packet.dport == 53 else self._hosts
            if name is None or not _listed(name, listed):
                return
            self._condemned[packet.flow] = self._condemned[packet.back] = None
            while len(self._condemned) > _CONDEMNED:
                self._condemned.popitem(last=False)
        after = packet.seq + len(packet.payload)
        near = (packet.dst, packet.dport, packet.src, packet.sport)
        far = (packet.src, packet.sport, packet.dst, packet.dport)
        for more in _WINDOWS:
            self._send(tcp(*near, packet.ack + more, after, RST | ACK), packet.src)
        for more in _WINDOWS:
            self._send(tcp(*far, after + more, packet.ack, RST | ACK), packet.dst)

    def _send(self, data: bytes, to: bytes) -> None:
        with contextlib.suppress(OSError):
            if len(to) == 4:
                self._raw4.sendto(data, (socket.inet_ntop(socket.AF_INET, to), 0))
            else:
                self._raw6.sendto(data, (socket.inet_ntop(socket.AF_INET6, to), 0))


def _listed(name: str, listed: list[str]) -> bool:
    return any(name == one or name.endswith("." + one) for one in listed)


def main() -> None:
    """Watch until stdin ends."""
    with contextlib.suppress(OSError):
        os.nice(-20)  # where the kernel lets us: it is a race
    ear = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    deepen(ear, 32 << 20)
    ear.bind((sys.argv[1], _ETH_P_ALL))
    ear.setblocking(False)
    recorder = Recorder(Path(sys.argv[2]))
    observer = Observer(recorder)
    poll = select.poll()
    poll.register(ear, select.POLLIN)
    poll.register(0, select.POLLIN)
    print("ready", flush=True)
    orders, done = b"", 0
    while True:
        ready = {fd for fd, _ in poll.poll()}
        with contextlib.suppress(BlockingIOError):
            while True:
                observer.hear(ear.recv(65536))
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, orders = (orders + data).split(b"\n")
            for line in lines:
                observer.order(json.loads(line))
                done += 1
                print(f"done {done} lost {recorder.lost}", flush=True)


if __name__ == "__main__":
    main()
