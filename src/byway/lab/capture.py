"""What was heard at the wall: a pcap file (raw IP), bounded as it is written, searched as read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from byway.lab.packets import TCP, Packet, parse

LIMIT = 32 << 20  # bytes of one capture file
_HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)  # 101: LINKTYPE_RAW
_RECORD = struct.Struct("<IIII")


class Recorder:
    """Writes packets to a file until it is full."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._file = path.open("wb")
        self._limit = limit
        self._room = 0
        self.restart()

    def restart(self) -> None:
        """Forget what was recorded."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(_HEAD)
        self._room = self._limit
        self.lost = 0

    def add(self, data: bytes, now: float) -> None:
        """Record one packet, or count it as lost when the file is full."""
        if len(data) > self._room:
            self.lost += 1
            return
        self._room -= len(data) + _RECORD.size
        whole = int(now)
        size = len(data)
        self._file.write(_RECORD.pack(whole, int((now - whole) * 1e6), size, size) + data)

    def flush(self) -> None:
        """Let readers see what was recorded."""
        self._file.flush()

    def close(self) -> None:
        """Record no more."""
        self._file.close()


class Capture:
    """What a wall heard, in the order it was heard."""

    def __init__(self, packets: list[Packet], lost: int = 0) -> None:
        self.packets = packets
        self.lost = lost  # packets that no longer fitted in

    @classmethod
    def read(cls, path: Path, lost: int = 0) -> Capture:
        """Read a pcap file that a Recorder wrote."""
        return cls(list(_records(path.read_bytes())), lost)

    def __len__(self) -> int:
        return len(self.packets)

    def find(self, needle: bytes) -> Packet | None:
        """The first packet of the first flow in whose bytes, put in order, this can be read."""
        flows: dict[object, list[Packet]] = {}
        for packet in self.packets:
            if needle in packet.payload:
                return packet
            if packet.payload and packet.protocol == TCP:
                flows.setdefault(packet.flow, []).append(packet)
        for packets in flows.values():
            if needle in _joined(packets):
                return packets[0]
        return None

    def to(self, port: int) -> list[Packet]:
        """The packets to this port."""
        return [packet for packet in self.packets if packet.dport == port]


def _joined(packets: list[Packet]) -> bytes:
    """The stream that these segments are, repeats left out. (Sequence numbers may wrap.)"""
    first = packets[0].seq
    middle = 1 << 31  # where the first segment is put, so that earlier ones stand before it
    by_place = {(p.seq - first + middle) & 0xFFFFFFFF: p.payload for p in packets}
    pieces = sorted(by_place.items())
    stream, at = bytearray(), pieces[0][0]
    for start, payload in pieces:
        fresh = payload[max(0, at - start) :]
        stream += fresh
        at = max(at, start + len(payload))
    return bytes(stream)


def _records(data: bytes) -> Iterator[Packet]:
    at = len(_HEAD)
    while at + _RECORD.size <= len(data):
        seconds, micros, size, _ = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        packet = parse(data[at : at + size], seconds + micros / 1e6)
        at += size
        if packet is not None:
            yield packet
