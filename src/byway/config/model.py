"""What a person may write: the sections of the one YAML file, their defaults and bounds.

Every model is frozen and refuses unknown keys. The values inside are the parsed ones (seconds,
bytes, targets, prefixes); the texts a person writes for them are read by `values.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PrivateAttr

from byway.config.conditions import RuleEntry, SetConfig
from byway.config.control import ControlSocket, MetricsAddress
from byway.config.groups import GroupConfig
from byway.config.names import Dns, ServerWord
from byway.errors import Problem
from byway.flow import Network, Target
from byway.rules.geo import NOWHERE, World
from byway.values.limit import Limit
from byway.values.section import Section
from byway.values.texts import (
    AutoFlag,
    AutoNumber,
    FilePath,
    HostAddress,
    HostPort,
    Interface,
    ListenAddress,
    Many,
    MethodName,
    NetworkName,
    OneOrMany,
    Password,
    PluginOptions,
    PluginProgram,
    SocksVersion,
    UserName,
    Way,
    duration,
    size,
)
from byway.values.tls import ClientTls, ServerTls
from byway.values.user import User

if TYPE_CHECKING:
    from byway.config.terms import PythonPlace
    from byway.facts.python import Function

RESERVED = ("reject", "drop", "otherwise")


class Log(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least grave line that is written."""
    format: Literal["human", "json"] = "human"
    """Lines for people, or one JSON object a line."""
    flows: bool = True
    """One line per flow, when it ends."""
    file: FilePath | None = None
    """Where the lines go; null: standard error. A relative path counts from the config's folder."""


class Limits(Section):
    """The bounds of every wait and table."""

    handshake: Annotated[float, duration("100ms", "10m")] = Field(
        default="10s", validate_default=True
    )
    """How long a client may take to say what it wants."""
    dial: Annotated[float, duration("100ms", "10m")] = Field(default="10s", validate_default=True)
    """How long reaching the target may take, the chain's handshakes included."""
    sniff: Annotated[float, duration("10ms", "10s")] = Field(default="300ms", validate_default=True)
    """How long a client may take to say something, where a rule asks what it says."""
    idle: Annotated[float, duration("1s", "30d")] = Field(default="5m", validate_default=True)
    """How long a connection may move nothing before it is cut."""
    udp_idle: Annotated[float, duration("1s", "1d")] = Field(default="1m", validate_default=True)
    """How long a UDP session may move nothing before it is forgotten."""
    head: Annotated[int, size("1KiB", "1MiB")] = Field(default="64KiB", validate_default=True)
    """The largest HTTP head that is read."""
    flows: AutoNumber = Field(default="auto", validate_default=True)
    """Open connections in all; auto (None): from the limit on open files."""
    flows_per_source: int = Field(default=4096, ge=1, le=10_000_000)
    """Open connections of one source address (of one /64 with IPv6)."""
    udp_sessions: int = Field(default=4096, ge=1, le=1_000_000)
    """UDP sessions of one inbound."""
    udp_targets: int = Field(default=1024, ge=1, le=65_536)
    """Targets of one UDP session."""
    drain: Annotated[float, duration("0s", "10m")] = Field(default="5s", validate_default=True)
    """How long flows may go on after Ctrl-C or SIGTERM."""


class Control(Section):
    """The control interface of a running Byway."""

    socket: ControlSocket = "auto"
    """Its unix socket: a path, `auto` (in `$XDG_RUNTIME_DIR/byway` or `/run/byway`) or `off`."""
    metrics: MetricsAddress | None = None
    """A loopback address for Prometheus: `/metrics`, and nothing else."""


class Geo(Section):
    """Files that know where in the world an address is (MaxMind DB, `.mmdb`)."""

    country: FilePath | None = None
    """Countries: for `country` and `source_country` in rules, and GEOIP lines of lists."""
    asn: FilePath | None = None
    """Autonomous systems: for `asn` and `source_asn`, and IP-ASN lines."""


class Placed(Section):
    """Where an inbound listens, and how far in its flows may go."""

    listen: Annotated[tuple[ListenAddress, ...], Many]
    """Where to listen: `address:port`, `[v6]:port` or `unix:path`; one, or a list."""
    allow_local: AutoFlag = Field(default="auto", validate_default=True)
    """May flows reach this host's loopback, link-local and metadata addresses?
    auto (None): only if every listener is loopback or unix."""
    limit: Limit | None = None
    """What its flows may use, all together."""

    @property
    def beyond_loopback(self) -> tuple[Target, ...]:
        """The listen addresses that other hosts may reach."""
        return tuple(a for a in self.listen if isinstance(a, Target) and not is_loopback(a))

    @property
    def guarded(self) -> bool:
        """Whether its flows are kept from this host's own addresses (`allow_local` decided)."""
        return bool(self.beyond_loopback) if self.allow_local is None else not self.allow_local


class _Listening(Placed):
    open: bool = False
    """Allow anyone who can reach a listener beyond loopback, without users."""


class _WithUsers(_Listening):
    users: Annotated[tuple[User, ...], OneOrMany(empty=True)] = ()
    """Who may use it. Nobody listed: everybody, which beyond loopback needs `open: true`."""
    tls: ServerTls | None = None
    """Speak it inside TLS."""


class MixedInbound(_WithUsers):
    """HTTP, SOCKS4, SOCKS4a and SOCKS5 on one port."""

    type: Literal["mixed"]


class HttpInbound(_WithUsers):
    """An HTTP proxy."""

    type: Literal["http"]


class SocksInbound(_WithUsers):
    """A SOCKS proxy: 4, 4a and 5."""

    type: Literal["socks"]


class ForwardInbound(_Listening):
    """A plain forwarder: what comes in goes to one target."""

    type: Literal["forward"]
    target: HostPort
    """Where everything goes: `host:port`."""
    network: Annotated[tuple[NetworkName, ...], Many] = Field(default="tcp", validate_default=True)
    """tcp, udp or both."""

    @property
    def guarded(self) -> bool:
        """Its one target was chosen here and not by a client: guarded only when told to be."""
        return self.allow_local is False


class ShadowsocksUser(User):
    """One of several users of a shadowsocks server."""

    relay: HostPort | None = None
    """The next server: it gets what they send, as it is. Their password is then its own key."""


class ShadowsocksInbound(Placed):
    """A shadowsocks server."""

    type: Literal["shadowsocks"]
    method: MethodName
    """The cipher. Prefer one of the 2022 edition: `2022-blake3-aes-128-gcm`."""
    password: Password
    """A password; with a 2022 method a key, as `byway password METHOD` makes them."""
    users: Annotated[tuple[ShadowsocksUser, ...], OneOrMany(empty=True)] = ()
    """Several users of one port, each with a key of their own (2022 methods with AES)."""
    network: Annotated[tuple[NetworkName, ...], Many] | None = None
    """tcp, udp or both; left out: both, and with a plugin, which UDP would go past, tcp."""
    plugin: PluginProgram | None = None
    """A SIP003 plugin, which listens in Byway's place."""
    plugin_opts: PluginOptions | None = None
    """What the plugin is told."""

    @property
    def networks(self) -> frozenset[Network]:
        """What it takes (`network` decided)."""
        return _sealed_networks(self.network, self.plugin)


def _sealed_networks(network: tuple[Network, ...] | None, plugin: str | None) -> frozenset[Network]:
    if network is not None:
        return frozenset(network)
    return frozenset(Network) if plugin is None else frozenset({Network.TCP})


class TrojanInbound(Placed):
    """A trojan server, which to everybody else is a web server."""

    type: Literal["trojan"]
    users: Annotated[tuple[User, ...], Many]
    """Who may use it; the name is for rules and logs, clients send the password alone."""
    tls: ServerTls
    """Its certificate: the one of the web site that it is to everybody else."""
    fallback: HostPort
    """The real web server (`host:port`, plain HTTP) that everybody else gets."""
    fallback_by_alpn: dict[str, HostPort] = Field(default_factory=dict)
    """Other web servers for those who agreed on a protocol: `{h2: 127.0.0.1:81}`."""


InboundConfig = Annotated[
    MixedInbound | HttpInbound | SocksInbound | ForwardInbound | ShadowsocksInbound | TrojanInbound,
    Field(discriminator="type"),
]


class _Leaving(Section):
    limit: Limit | None = None
    """What flows that leave by it may use, all together."""


class DirectOutbound(_Leaving):
    """Leave from this host itself."""

    type: Literal["direct"]
    bind: HostAddress | None = None
    """The local address to leave from."""
    interface: Interface | None = None
    """The network interface to leave by."""
    mark: int | None = Field(default=None, ge=0, le=0xFFFF_FFFF)
    """The firewall mark of its packets (needs CAP_NET_ADMIN)."""
    dns: Annotated[tuple[ServerWord, ...], Many] | None = None
    """Who is asked for the names of what leaves here: a server of `dns` or an address, or several;
    none: whom `dns` says."""


class _Proxied(_Leaving):
    server: HostPort
    """The proxy: `host:port`."""
    via: Way | None = None
    """The outbound (a name or a link) by which the proxy is reached; none: from this host."""


class _LoggedIn(_Proxied):
    username: UserName | None = None
    """Who to be there: 1 to 255 bytes."""
    password: Password | None = None
    """1 to 255 bytes."""
    tls: ClientTls | None = None
    """Speak it inside TLS; `tls: {}` is enough for a server with a public certificate."""


class HttpOutbound(_LoggedIn):
    """Leave by an HTTP proxy (CONNECT)."""

    type: Literal["http"]
    udp_over_tcp: bool = False
    """Carry packets inside a connection through the proxy, which has to know of it."""


class SocksOutbound(_LoggedIn):
    """Leave by a SOCKS proxy."""

    type: Literal["socks"]
    version: SocksVersion = "5"
    """5, 4a or 4 (4 carries IPv4 addresses only: names are resolved here)."""
    udp_over_tcp: bool = False
    """Carry packets inside a connection through the proxy, which has to know of it (sing-box)."""


class ShadowsocksOutbound(_Proxied):
    """Leave by a shadowsocks server."""

    type: Literal["shadowsocks"]
    method: MethodName
    """The cipher, as the server has it."""
    password: Password
    """Its password; with a 2022 method its key, or `server's:user's` keys."""
    network: Annotated[tuple[NetworkName, ...], Many] | None = None
    """tcp, udp or both; left out: both, and with a plugin, which UDP would go past, tcp."""
    udp_over_tcp: bool = False
    """Carry packets inside a connection to the server, which has to know of it (sing-box)."""
    plugin: PluginProgram | None = None
    """A SIP003 plugin, which dials the server in Byway's place."""
    plugin_opts: PluginOptions | None = None
    """What the plugin is told."""

    @property
    def networks(self) -> frozenset[Network]:
        """What it carries (`network` and `udp_over_tcp` decided)."""
        if self.udp_over_tcp:
            return frozenset(Network)
        return _sealed_networks(self.network, self.plugin)


class TrojanOutbound(_Proxied):
    """Leave by a trojan server."""

    type: Literal["trojan"]
    password: Password
    """As the server has it."""
    tls: ClientTls = Field(default_factory=ClientTls)
    """How to trust the server; left out: as one with a public certificate for its name."""


OutboundConfig = Annotated[
    DirectOutbound | HttpOutbound | SocksOutbound | ShadowsocksOutbound | TrojanOutbound,
    Field(discriminator="type"),
]


class Config(Section):
    """The whole file, checked. `outbounds` holds `direct` and the ones made of links, too."""

    log: Log = Field(default_factory=Log)
    limits: Limits = Field(default_factory=Limits)
    control: Control = Field(default_factory=Control)
    inbounds: dict[str, InboundConfig] = Field(default={})
    """The ways in, by name; none: a mixed proxy on 127.0.0.1:1080."""
    outbounds: dict[str, OutboundConfig] = Field(default={})
    """The ways out, by name; `direct` always exists. A link may stand in place of a mapping."""
    dns: Dns | None = None
    """Who resolves names for `direct` and for rules; none: the system's resolver."""
    geo: Geo = Field(default_factory=Geo)
    groups: dict[str, GroupConfig] = Field(default={})
    """Outbounds that choose among others, by name; a group stands wherever an outbound may."""
    sets: dict[str, SetConfig] = Field(default={})
    """Lists that rules ask for, by name."""
    rules: tuple[RuleEntry, ...] = ()
    """First match wins; none: everything direct."""

    _file: str = PrivateAttr(default="")
    _warnings: tuple[Problem, ...] = PrivateAttr(default=())
    _lines: dict[tuple[str, str], int] = PrivateAttr(default_factory=dict)
    _item_lines: dict[str, tuple[int, ...]] = PrivateAttr(default_factory=dict)
    _world: World = PrivateAttr(default=NOWHERE)
    _stamps: dict[str, tuple[int, int]] = PrivateAttr(default_factory=dict)
    _functions: Mapping[PythonPlace, Function] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> str:
        """The file it was read from, or what stands in its place."""
        return self._file

    @property
    def world(self) -> World:
        """What the files of `geo` know; they were read with the config."""
        return self._world

    @property
    def functions(self) -> Mapping[PythonPlace, Function]:
        """The functions of rules in Python; their files were run with the config."""
        return self._functions

    def line(self, section: str, name: str) -> int:
        """The line of an entry of `inbounds`, `outbounds`, `groups` or `sets`; 0: it has none."""
        return self._lines.get((section, name), 0)

    def item_lines(self, name: str) -> tuple[int, ...]:
        """The lines of the items of an inline set; 0: it has none."""
        return self._item_lines.get(name, ())

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What is odd in it, and yet no error."""
        return self._warnings


def is_loopback(address: Target) -> bool:
    """Whether only this host can reach an address (127.0.0.0/8 or ::1)."""
    packed = address.packed
    if packed is None:
        return False
    return packed[0] == 127 if len(packed) == 4 else packed == bytes(15) + b"\x01"
