"""The sections of shadowsocks, and what comes of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from byway.dialects import reach
from byway.dialects.card import Lead, Lent, Out
from byway.dialects.passwords import check_passwords
from byway.dialects.reach import Carrying, Streamed
from byway.dialects.shadowsocks.client import ShadowsocksClient
from byway.dialects.shadowsocks.links import write_link
from byway.dialects.shadowsocks.server import Server, Shadowsocks
from byway.dialects.uot import UdpOverTcp
from byway.engine import SealedPackets, SealedUser
from byway.flow import TCP_AND_UDP, TCP_ONLY, Network, Target
from byway.inbounds.both import Both
from byway.inbounds.entry import Entry, Greet
from byway.inbounds.listener import StreamInbound
from byway.inbounds.packets import PacketDoor
from byway.inbounds.plugged import Plugged
from byway.outbounds.direct import Direct
from byway.outbounds.plugged import Plugged as PluggedVia
from byway.outbounds.proxy import Client
from byway.protocols import shadowsocks, shadowsocks2022
from byway.protocols.shadowsocks import METHODS, SUGGESTED, Method, why_refused
from byway.system.plugin import Plugin, loopback_port
from byway.values import hosts
from byway.values.problems import Path, Problems, nearest
from byway.values.texts import (
    HostPort,
    Many,
    NetworkName,
    OneOrMany,
    Password,
    Reads,
    ReadsPath,
    text_of,
    text_schema,
)
from byway.values.tls import ServerTls
from byway.values.user import User
from byway.values.written import Node
from byway.values.wrong import Wrong, shown

if TYPE_CHECKING:
    from byway.engine import ListenOptions
    from byway.inbounds.entry import Means
    from byway.interfaces import Inbound, Outbound

_IN_THE_MANUAL = ("AAECAwQFBgcICQoLDA0ODw==",)
"""Keys of our examples, which are easily copied with the rest."""
_SERVERS_OWN = ("server", "failover", "cert", "certRaw", "key", "fast-open")
"""Options that servers of simple-obfs, v2ray-plugin and its kin alone are given."""


def _method(value: object) -> str:
    text = text_of(value)
    method = METHODS.get(text.lower())
    if method is not None:
        return method.name
    if why := why_refused(text):
        raise Wrong(why, f"use {SUGGESTED}")
    near = nearest(text, METHODS)
    hint = f"did you mean {near}? " if near else ""
    hint += f"Known here: {', '.join(METHODS)}" if near else f"known here: {', '.join(METHODS)}"
    raise Wrong(f"unknown shadowsocks method {shown(text)}", hint)


def _plugin(value: object, folder: str | None) -> str:
    text = text_of(value)
    if not text or "\0" in text:
        raise Wrong("expected the name or path of a program", "for example obfs-local")
    return hosts.placed(text, folder) if "/" in text else text


def _plugin_options(value: object) -> str:
    text = text_of(value)
    if "\0" in text or len(text) > 4096:
        raise Wrong("expected options such as obfs=http;obfs-host=www.example.com")
    return text


MethodName = Annotated[str, Reads(_method, {"enum": list(METHODS)})]
PluginProgram = Annotated[str, ReadsPath(_plugin, text_schema("obfs-local"))]
PluginOptions = Annotated[str, Reads(_plugin_options, {"type": "string"})]


class ShadowsocksUser(User):
    """One of several users of a shadowsocks server."""

    relay: HostPort | None = None
    """The next server, which gets the user's traffic unchanged. The password is then its key."""


class ShadowsocksInbound(Carrying):
    """A shadowsocks server."""

    keeps_strangers_out: ClassVar[bool] = True

    type: Literal["shadowsocks"]
    method: MethodName
    """The cipher. Prefer one of the 2022 edition: `2022-blake3-aes-128-gcm`."""
    password: Password
    """A password; with a 2022 method a key (`byway password METHOD` generates one)."""
    users: Annotated[tuple[ShadowsocksUser, ...], OneOrMany(empty=True)] = ()
    """Several users of one port, each with a key of their own (2022 methods with AES)."""
    network: Annotated[tuple[NetworkName, ...], Many] | None = None
    """tcp, udp or both; default: both, or tcp with a plugin, tls or transport."""
    tls: ServerTls | None = None
    """Use TLS for connections."""
    plugin: PluginProgram | None = None
    """A SIP003 plugin, which listens in Byway's place."""
    plugin_opts: PluginOptions | None = None
    """The options of the plugin."""

    @property
    def networks(self) -> frozenset[Network]:
        """The networks that it takes (`network` decided)."""
        return _networks(self.network, self.plugin or self.tls or self.transport)

    @property
    def known_users(self) -> tuple[User, ...]:
        """Its users, by name."""
        return self.users

    @property
    def leads(self) -> Sequence[Lead]:
        """The servers that users are handed on to, and the web server."""
        relays = [
            Lead(("users", at, "relay"), user.relay, self.networks)
            for at, user in enumerate(self.users)
            if user.relay is not None
        ]
        return [*super().leads, *relays]

    @classmethod
    def networks_of(cls, node: Node) -> frozenset[Network]:
        """The networks that a section takes, as far as it can be read."""
        wrapped = any(node.get(key) is not None for key in ("plugin", "tls", "transport"))
        return node.networks("network", TCP_ONLY if wrapped else TCP_AND_UDP)

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        super().check(path, node, problems)
        reach.check_tls((*path, "tls"), node.get("tls"), problems)
        _check_plugin(path, node, problems)
        listen, users = node.get("listen"), node.get("users")
        if node.get("plugin") is not None and listen is not None:
            items = listen.items()
            if len(items) != 1 or str(items[0].content).startswith("unix:"):
                hint = "the plugin listens, on one address only"
                problems.add((*path, "listen"), "a plugin needs exactly one address and port", hint)
        method = METHODS.get((node.text("method") or "").lower())
        if method is None:
            return
        _check_key(path, node, method, problems, single=True)
        known = [] if users is None else users.items()
        if known and not method.has_identities:
            several = ", ".join(name for name, other in METHODS.items() if other.has_identities)
            problems.add(
                (*path, "users"), f"{method.name} supports only one user", f"several: {several}"
            )
            return
        for at, user in enumerate(known):
            _check_key((*path, "users", at), user, method, problems, single=True)
        check_passwords(path, node, problems)

    def warn(self, path: Path, problems: Problems) -> None:
        """Note what is odd in a section without errors."""
        if self.password.get_secret_value() in _IN_THE_MANUAL:
            what = "this key is printed in the manual, so it is public"
            problems.warn((*path, "password"), what, "generate another with byway password")
        _warn_of_plugin(path, self.plugin, problems)

    def inbound(self, name: str, means: Means, options: ListenOptions, lent: Lent) -> Inbound:
        """The server's end: connections, packets, or both."""
        entry = Entry(name, means, guarded=self.guarded, inner=self.inner)
        # Where relayed users go was chosen here and not by a client.
        relayed = Entry(name, means, guarded=self.allow_local is False)
        kit = shadowsocks.Kit(lent.ciphers, lent.entropy, lent.now)
        method = METHODS[self.method]
        key, users = self._keys(method)
        server: Server
        if method.is_2022:
            server = shadowsocks2022.Server(method, key, kit, users)
        else:
            server = shadowsocks.Server(method, key, kit)
        door = Shadowsocks(entry, server, relayed)
        elsewhere = self.elsewhere(entry, lent)
        greet = reach.dressed(entry, self.tls, self.transport, door.greet, elsewhere)
        listen = self.places()
        streams: Inbound | None = None
        if Network.TCP in self.networks and self.plugin is None:
            streams = StreamInbound(entry, listen, greet, options)
        elif Network.TCP in self.networks:
            streams = self._plugged(entry, greet, options, lent)
        if streams is not None and Network.UDP not in self.networks:
            return streams
        packets = [place for place in listen if isinstance(place, Target)]
        whose = [(user.name, entry if user.relay is None else relayed) for user in users]
        codec = SealedPackets(
            method.name, key, tuple(SealedUser(user.key, user.relay) for user in users)
        )
        return Both(name, streams, packets, lambda: PacketDoor(entry, users=whose), codec)

    def invited(self, server: Target) -> Iterator[tuple[str, Out]]:
        """An outbound for each user, or the one for everybody."""
        for key in ("tls", "transport"):
            if getattr(self, key) is not None:
                raise ValueError(f"a link cannot express {key}")
        own = self.password.get_secret_value()
        for user in self.users:
            yield user.name, self._invited(server, f"{own}:{user.password.get_secret_value()}")
        if not self.users:
            yield "", self._invited(server, own)

    def _invited(self, server: Target, key: str) -> Out:
        plugin = self.plugin
        if plugin is not None:
            program = plugin.rpartition("/")[2]
            plugin = {"obfs-server": "obfs-local"}.get(program, program)
        options = _for_clients(self.plugin_opts or "")
        return ShadowsocksOutbound.model_validate(
            {
                "type": "shadowsocks",
                "server": str(server),
                "method": self.method,
                "password": key,
                **({} if plugin is None else {"plugin": plugin}),
                **({} if not options else {"plugin_opts": options}),
            }
        )

    def _keys(self, method: Method) -> tuple[bytes, list[shadowsocks2022.User]]:
        """The server's key, and those of its users."""
        password = self.password.get_secret_value()
        if not method.is_2022:
            return shadowsocks.key_of(method, password), []
        users = []
        for user in self.users:
            (key,) = shadowsocks2022.keys_of(method, user.password.get_secret_value())
            users.append(shadowsocks2022.User(user.name, key, user.relay))
        (key,) = shadowsocks2022.keys_of(method, password)
        return key, users

    def _plugged(self, entry: Entry, greet: Greet, options: ListenOptions, lent: Lent) -> Plugged:
        public, inner = self.listen[0], loopback_port()
        assert self.plugin is not None
        assert isinstance(public, Target)
        given = self.plugin_opts or ""
        plugin = Plugin(self.plugin, given, public, inner, lent.log.info, lent.group)
        lent.plugins.append(plugin)
        return Plugged(StreamInbound(entry, [inner], greet, options), plugin, public)


class ShadowsocksOutbound(Streamed):
    """Connect through a shadowsocks server."""

    type: Literal["shadowsocks"]
    method: MethodName
    """The cipher, as the server has it."""
    password: Password
    """Its password; with a 2022 method its key, or `server's:user's` keys."""
    network: Annotated[tuple[NetworkName, ...], Many] | None = None
    """tcp, udp or both; default: both, or tcp with a plugin, tls or transport."""
    udp_over_tcp: bool = False
    """Send UDP inside a TCP connection; the server must support it (sing-box does)."""
    plugin: PluginProgram | None = None
    """A SIP003 plugin, which dials the server in Byway's place."""
    plugin_opts: PluginOptions | None = None
    """The options of the plugin."""

    @property
    def networks(self) -> frozenset[Network]:
        """The networks that it carries (`network`, `udp_over_tcp` and `mux` decided)."""
        return TCP_AND_UDP if self.packets_in_stream else self._by_itself

    @property
    def _by_itself(self) -> frozenset[Network]:
        return _networks(self.network, self.plugin or self.tls or self.transport)

    @property
    def packets_in_stream(self) -> bool:
        """Only with `udp_over_tcp`, or a mux."""
        return self.udp_over_tcp or self.mux is not None

    @property
    def server_answers(self) -> bool:
        """Nothing is answered."""
        return False

    @property
    def reached_by(self) -> frozenset[Network]:
        """Packets go to it as such, but inside a stream with `udp_over_tcp` or a mux."""
        return self._by_itself | TCP_ONLY if self.packets_in_stream else self._by_itself

    @classmethod
    def check(cls, path: Path, node: Node, problems: Problems) -> None:
        """Note what does not fit together in what was written."""
        super().check(path, node, problems)
        _check_plugin(path, node, problems)
        if node.get("plugin") is not None and node.get("via") is not None:
            hint = "a plugin dials by itself; remove the plugin or via"
            problems.add((*path, "via"), "a plugin cannot use via", hint)
        method = METHODS.get((node.text("method") or "").lower())
        if method is not None:
            _check_key(path, node, method, problems, single=False)

    def client(self, lent: Lent) -> Client:
        """The client's end."""
        method = METHODS[self.method]
        password = self.password.get_secret_value()
        if method.is_2022:
            keys = shadowsocks2022.keys_of(method, password)
        else:
            keys = (shadowsocks.key_of(method, password),)
        options = shadowsocks.ShadowsocksOptions(method, keys)
        kit = shadowsocks.Kit(lent.ciphers, lent.entropy, lent.now)
        client = ShadowsocksClient(options, kit, lent.engine, self.server, self._by_itself)
        return UdpOverTcp(client, lent.engine) if self.udp_over_tcp else client

    def before(self, name: str, via: Outbound, lent: Lent) -> Outbound:
        """What a stream to the server goes by: `via`, or the plugin in front of it."""
        if self.plugin is None:
            return via
        given = self.plugin_opts or ""
        plugin = Plugin(self.plugin, given, self.server, None, lent.log.info, lent.group)
        lent.plugins.append(plugin)
        lent.dialling.append(plugin)
        # Whatever `direct` is bound to leads to the server, and not to a program on this host.
        local = Direct("plugin", lent.engine, lent.resolver)
        return PluggedVia(name, via, local, plugin.ready)

    def warn(self, path: Path, problems: Problems) -> None:
        """Note what is odd in a section without errors."""
        super().warn(path, problems)
        _warn_of_plugin(path, self.plugin, problems)

    def link(self, name: str) -> str:
        """The SIP002 link."""
        if self.tls is not None:
            raise ValueError("a link cannot express tls")
        password, plugin = self.password.get_secret_value(), self.plugin
        if plugin is not None:
            # where the program lies is this host's affair
            parts = (plugin.rpartition("/")[2], self.plugin_opts)
            plugin = ";".join(filter(None, parts))
        return write_link(self.server, METHODS[self.method], password, plugin, name)


def _networks(network: tuple[Network, ...] | None, around: object) -> frozenset[Network]:
    """What is carried; what is `around` the stream (if anything) carries no packets."""
    if network is not None:
        return frozenset(network)
    return TCP_AND_UDP if around is None else TCP_ONLY


def _check_key(path: Path, node: Node, method: Method, problems: Problems, single: bool) -> None:
    """A 2022 password is a key, or (at a client) several."""
    password = node.text("password")
    if not method.is_2022 or password is None:
        return
    try:
        keys = shadowsocks2022.keys_of(method, password)
    except ValueError as error:
        problems.add(
            (*path, "password"), str(error), f"generate one with byway password {method.name}"
        )
        return
    if single and len(keys) > 1:
        hint = "the server's key is the password, and each user has another key"
        problems.add((*path, "password"), "expected two keys, got one", hint)


def _check_plugin(path: Path, node: Node, problems: Problems) -> None:
    if node.get("plugin_opts") is not None and node.get("plugin") is None:
        problems.add((*path, "plugin_opts"), "plugin_opts without a plugin", "add plugin")
    for key in ("tls", "transport") if node.get("plugin") is not None else ():
        if node.get(key) is not None:
            problems.add((*path, key), f"plugin and {key} exclude each other", "remove one of them")
    if node.get("plugin") is None or node.get("network") is None:
        return
    if Network.TCP not in node.networks("network", TCP_AND_UDP):
        hint = "remove the plugin, or add tcp"
        problems.add((*path, "network"), "plugins support only TCP, which is not in network", hint)


def _warn_of_plugin(path: Path, plugin: str | None, problems: Problems) -> None:
    if plugin is not None and shutil.which(plugin) is None:
        where = "there" if "/" in plugin else "in PATH"
        hint = "install it, or give its path: until then, this outbound fails"
        problems.warn((*path, "plugin"), f"the program {plugin} is not {where}", hint)


def _for_clients(options: str) -> str:
    """A plugin's options without those that are the server's own, such as its files."""
    words = re.split(r"(?<!\\);", options)  # SIP003 writes a ; within a value as \;
    return ";".join(word for word in words if word.partition("=")[0] not in _SERVERS_OWN)
