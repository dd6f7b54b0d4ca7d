"""HTTP proxies (RFC 9110): CONNECT as a client; CONNECT and plain requests as a server."""

from byway.dialects.http.sections import CARD, HttpInbound, HttpOutbound

__all__ = ["CARD", "HttpInbound", "HttpOutbound"]
