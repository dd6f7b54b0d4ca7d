"""Trojan: a password inside TLS, behind a real web site."""

from byway.dialects.trojan.sections import CARD, TrojanInbound, TrojanOutbound

__all__ = ["CARD", "TrojanInbound", "TrojanOutbound"]
