"""The typed interface to the Rust engine, and its only importer.

In come addresses, options and streams; out go streams, relays and counters. Nothing here knows a
config, a name or a rule. Its clock is flow time: a few calls per flow, none per chunk or packet.
"""

from byway._engine import Bucket, Meter, Turnstile
from byway.engine.answers import EngineAnswers, EngineMessages, Families, Outcome
from byway.engine.datagrams import EngineDatagrams, PacketAsk, PacketCaller, PacketListener
from byway.engine.engine import Engine
from byway.engine.flows import Flows
from byway.engine.layers import (
    EngineCiphers,
    KnownSalts,
    NotTls,
    SaltFilter,
    TlsClient,
    TlsClientOptions,
    TlsServer,
    TlsServerOptions,
)
from byway.engine.options import (
    Body,
    Codec,
    DialOptions,
    Framing,
    ListenOptions,
    PacketOptions,
    Refusal,
    SealedPackets,
    SealedUser,
)
from byway.engine.relay import EngineRelay
from byway.engine.session import EngineSession, SessionProtocol
from byway.engine.sets import EngineLists
from byway.engine.stream import EngineListener, EngineStream, TlsInfo

__all__ = [
    "Body",
    "Bucket",
    "Codec",
    "DialOptions",
    "Engine",
    "EngineAnswers",
    "EngineCiphers",
    "EngineDatagrams",
    "EngineListener",
    "EngineLists",
    "EngineMessages",
    "EngineRelay",
    "EngineSession",
    "EngineStream",
    "Families",
    "Flows",
    "Framing",
    "KnownSalts",
    "ListenOptions",
    "Meter",
    "NotTls",
    "Outcome",
    "PacketAsk",
    "PacketCaller",
    "PacketListener",
    "PacketOptions",
    "Refusal",
    "SaltFilter",
    "SealedPackets",
    "SealedUser",
    "SessionProtocol",
    "TlsClient",
    "TlsClientOptions",
    "TlsInfo",
    "TlsServer",
    "TlsServerOptions",
    "Turnstile",
]
