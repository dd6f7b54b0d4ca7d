"""The config: one YAML file, checked whole before anything starts.

Comes in: a file, a text, or links. Goes out: a frozen `Config`, or a `ConfigError` with every
problem and its exact place. On config time.
"""

from byway.config.compile import judge_of
from byway.config.load import default, from_links, load, load_text
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
    "default",
    "from_links",
    "judge_of",
    "load",
    "load_text",
]
