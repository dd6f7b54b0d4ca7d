"""LEAVE: direct, through a proxy, or by a group that chooses.

Comes in: a target. Goes out: a stream (or datagrams, or a lent port) that leads to it. On flow
time; errors say which hop failed, so that every inbound can answer well.
"""

from byway.outbounds.direct import Direct
from byway.outbounds.proxy import Proxy

__all__ = ["Direct", "Proxy"]
