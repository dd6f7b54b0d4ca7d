"""The config: one YAML file, checked whole before anything starts.

Comes in: a file, a text, or links. Goes out: a frozen `Config`, or a `ConfigError` with every
problem and its exact place. On config time.
"""

from byway.config.compile import judge_of
from byway.config.model import (
    Config,
    DirectOutbound,
    ForwardInbound,
    HttpInbound,
    HttpOutbound,
    InboundConfig,
    Limits,
    Log,
    MixedInbound,
    OutboundConfig,
    RuleEntry,
    SocksInbound,
    SocksOutbound,
    User,
)
from byway.config.values import UnixPath

__all__ = [
    "Config",
    "DirectOutbound",
    "ForwardInbound",
    "HttpInbound",
    "HttpOutbound",
    "InboundConfig",
    "Limits",
    "Log",
    "MixedInbound",
    "OutboundConfig",
    "RuleEntry",
    "SocksInbound",
    "SocksOutbound",
    "UnixPath",
    "User",
    "judge_of",
]
