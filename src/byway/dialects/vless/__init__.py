"""VLESS: a UUID inside TLS, and nothing of its own around the bytes."""

from byway.dialects.vless.sections import CARD, VlessInbound, VlessOutbound

__all__ = ["CARD", "VlessInbound", "VlessOutbound"]
