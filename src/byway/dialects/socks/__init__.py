"""SOCKS 5, 4a and 4 (RFC 1928, RFC 1929)."""

from byway.dialects.socks.sections import CARD, SocksInbound, SocksOutbound

__all__ = ["CARD", "SocksInbound", "SocksOutbound"]
