"""IP packets as bytes: read what an observer wants to know, make what it injects. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FIN, SYN, RST, ACK = 1, 2, 4, 16
_TTL = 64


@dataclass(frozen=True, slots=True)
class Packet:
    """One IPv4 or IPv6 packet; ports, sequence numbers and flags are 0 where there are none."""

    src: bytes
    dst: bytes
    protocol: int
    sport: int = 0
    dport: int = 0
    seq: int = 0
    ack: int = 0
    flags: int = 0
    payload: bytes = b""
    time: float = 0.0

    @property
    def flow(self) -> tuple[int, bytes, int, bytes, int]:
        """What tells this direction of a flow from all others."""
        return self.protocol, self.src, self.sport, self.dst, self.dport

    @property
    def back(self) -> tuple[int, bytes, int, bytes, int]:
        """The `flow` of the packets that answer this one."""
        return self.protocol, self.dst, self.dport, self.src, self.sport

    def __str__(self) -> str:
        name = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp6"}.get(self.protocol, "ip")
        src, dst = ip_address(self.src), ip_address(self.dst)
        return f"{name} {src}:{self.sport} > {dst}:{self.dport} {len(self.payload)} bytes"


def parse(data: bytes, time: float = 0.0) -> Packet | None:
    """Read a packet that starts with its IP header; None when it is cut short or no IP."""
    try:
        version = data[0] >> 4
        if version == 4:
            end = struct.unpack_from("!H", data, 2)[0] or len(data)  # 0 on some offloaded packets
            protocol, src, dst = data[9], data[12:16], data[16:20]
            at = (data[0] & 15) * 4
            if struct.unpack_from("!H", data, 6)[0] & 0x1FFF:
                return Packet(src, dst, protocol, payload=data[at:end], time=time)
        elif version == 6:
            end = (struct.unpack_from("!H", data, 4)[0] + 40) if data[4:6] != b"\0\0" else len(data)
            protocol, src, dst = data[6], data[8:24], data[24:40]
            at = 40
        else:
            return None
        if protocol == TCP:
            sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", data, at)
            payload = data[at + (offset >> 4) * 4 : end]
            return Packet(src, dst, protocol, sport, dport, seq, ack, flags, payload, time)
        if protocol == UDP:
            sport, dport = struct.unpack_from("!HH", data, at)
            return Packet(src, dst, protocol, sport, dport, payload=data[at + 8 : end], time=time)
        return Packet(src, dst, protocol, payload=data[at:end], time=time)
    except (IndexError, struct.error):
        return None


def tcp(src: bytes, sport: int, dst: bytes, dport: int, seq: int, ack: int, flags: int) -> bytes:
    """A TCP packet without payload, IP header included (RFC 9293 section 3.1)."""
    head = struct.pack("!HHIIBBHHH", sport, dport, seq & _32, ack & _32, 0x50, flags, 0, 0, 0)
    return _ip(src, dst, TCP, head, 16)


def udp(src: bytes, sport: int, dst: bytes, dport: int, payload: bytes) -> bytes:
    """A UDP packet, IP header included (RFC 768)."""
    head = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
    return _ip(src, dst, UDP, head + payload, 6)


_32 = 0xFFFFFFFF


def _ip(src: bytes, dst: bytes, protocol: int, data: bytes, checksum_at: int) -> bytes:
    pseudo = src + dst + struct.pack("!II", len(data), protocol)
    total = _sum(pseudo + data) or 0xFFFF
    data = data[:checksum_at] + total.to_bytes(2, "big") + data[checksum_at + 2 :]
    if len(src) == 16:
        return struct.pack("!IHBB", 6 << 28, len(data), protocol, _TTL) + src + dst + data
    # the kernel fills in length, id and checksum of a raw IPv4 header (raw(7))
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, _TTL, protocol, 0)
    return head + src + dst + data


def _sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
