"""IP prefixes as integers, so that a match is a shift and a comparison."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network of `size` bytes' addresses (4 or 16): its leading `bits` bits, as `head`."""

    size: int
    bits: int
    head: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """Read `10.0.0.0/8`, `fd00::/8` or one address. Raises ValueError with the reason.

        A prefix of v4-mapped IPv6 addresses becomes the IPv4 prefix, as targets do.
        """
        if "%" in text:
            raise ValueError("a zone (%) has no place in a prefix")
        _, slash, length = text.partition("/")
        if slash and not (length.isascii() and length.isdigit()):
            raise ValueError("the length after / is not a number")
        network = ipaddress.ip_network(text)
        return cls.of(network)

    @classmethod
    def of(cls, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Prefix:
        """Make a prefix of a network of the standard library."""
        size, bits = network.max_prefixlen // 8, network.prefixlen
        number = int(network.network_address)
        if size == 16 and bits >= 96 and number >> 32 == 0xFFFF:
            size, bits, number = 4, bits - 96, number & 0xFFFFFFFF
        return cls(size, bits, number >> (size * 8 - bits))

    def covers(self, other: Prefix) -> bool:
        """Whether every address of `other` is in this prefix."""
        if self.size != other.size or self.bits > other.bits:
            return False
        return other.head >> (other.bits - self.bits) == self.head

    def holds(self, packed: bytes) -> bool:
        """Whether a packed address is in this prefix."""
        if len(packed) != self.size:
            return False
        return int.from_bytes(packed) >> (self.size * 8 - self.bits) == self.head

    def __str__(self) -> str:
        number = self.head << (self.size * 8 - self.bits)
        address = ipaddress.ip_address(number.to_bytes(self.size))
        return f"{address}/{self.bits}"
