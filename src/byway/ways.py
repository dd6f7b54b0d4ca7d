"""The ways in and out: a config's sections become inbounds and outbounds. A part of the root.

On config time. What they need of the host beside sockets (plugin processes) is collected, and the
app starts and ends it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence, Set
from types import MappingProxyType
from typing import Protocol

from byway.config import (
    Config,
    DirectOutbound,
    ForwardInbound,
    HttpInbound,
    HttpOutbound,
    MixedInbound,
    OutboundConfig,
    ServerTls,
    ShadowsocksInbound,
    ShadowsocksOutbound,
    SocksInbound,
    TrojanInbound,
    TrojanOutbound,
    UnixPath,
)
from byway.config.limited import alike
from byway.engine import (
    DialOptions,
    Engine,
    ListenOptions,
    SealedPackets,
    SealedUser,
)
from byway.flow import Network, Target
from byway.inbounds.both import Both
from byway.inbounds.entry import Entry, Greet, Means
from byway.inbounds.forward import Forward
from byway.inbounds.http import Http
from byway.inbounds.listener import Address, StreamInbound
from byway.inbounds.mixed import Mixed
from byway.inbounds.packets import PacketDoor
from byway.inbounds.plugged import Plugged
from byway.inbounds.shadowsocks import Server, Shadowsocks
from byway.inbounds.socks import Socks
from byway.inbounds.tls import Certificate, TlsDoor, inside
from byway.inbounds.trojan import Trojan
from byway.interfaces import Dialer, Inbound, Outbound, Resolver
from byway.log import Log
from byway.outbounds import dialects
from byway.outbounds.direct import Direct
from byway.outbounds.proxy import Dialect, Layer, Proxy
from byway.outbounds.roster import Roster
from byway.outbounds.secure import SetTls
from byway.protocols import shadowsocks, shadowsocks2022, trojan
from byway.protocols.credentials import verifier
from byway.protocols.http import HttpOptions
from byway.protocols.socks import SocksOptions
from byway.system.own import OwnAddresses
from byway.system.plugin import Plugin, loopback_port


class Names(Resolver, Protocol):
    """A resolver that can be had for one way out, with name servers of its own."""

    def by(self, use: Sequence[str]) -> Resolver:
        """What asks these servers, by their names or addresses."""


class Ways:
    """Builds the ways of one app. `dialling` are the plugins of outbounds, which start when they
    are first needed, if something serves them; `plugins` are all, to be ended. `kept` are outbounds
    of an earlier config that stay, `former` its roster; the one of this config is `roster`.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        resolver: Names,
        log: Log,
        kept: Mapping[str, Outbound] = MappingProxyType({}),
        former: Roster | None = None,
    ) -> None:
        self.roster = Roster() if former is None else Roster(former)
        self.plugins: list[Plugin] = []
        self.dialling: list[Plugin] = []
        self._config = config
        self._watched = _members(config)
        self._engine = engine
        self._resolver = resolver
        self._log = log
        self._own = OwnAddresses().holds
        self._kit = shadowsocks.Kit(engine.framings, os.urandom, time.time)
        self._built: dict[str, Outbound] = dict(kept)
        if former is not None:
            self.roster.keep(kept)

    def outbounds(self) -> dict[str, Outbound]:
        """Every way out by its name. Raises OSError for a file that is not what it should be."""
        for name in (*self._config.outbounds, *self._config.groups):
            self._outbound(name)
        return self._built

    def inbound(self, name: str, means: Means, options: ListenOptions) -> Inbound:
        """One way in. Raises OSError for a file that is not what it should be."""
        section = self._config.inbounds[name]
        listen = [place.path if isinstance(place, UnixPath) else place for place in section.listen]
        if isinstance(section, ForwardInbound):
            entry = Entry(name, means, guarded=section.guarded)
            return Forward(entry, listen, section.target, frozenset(section.network), options)
        if isinstance(section, ShadowsocksInbound):
            return self._shadowsocks(name, section, listen, means, options)
        if isinstance(section, TrojanInbound):
            entry = Entry(name, means, guarded=section.guarded)
            return StreamInbound(entry, listen, self._trojan(entry, section).greet, options)
        users = {user.name: user.password.get_secret_value() for user in section.users}
        entry = Entry(name, means, verifier(users) if users else None, section.guarded)
        greet: Greet
        if isinstance(section, MixedInbound):
            greet = Mixed(entry).greet
        elif isinstance(section, HttpInbound):
            greet = Http(entry).greet
        else:
            assert isinstance(section, SocksInbound)
            greet = Socks(entry).greet
        if section.tls is not None:
            greet = inside(_door(entry, section.tls), greet)
        return StreamInbound(entry, listen, greet, options)

    def _outbound(self, name: str) -> Outbound:
        """A proxy's `via` is built before it (the config has no loops)."""
        if name in self._built:
            return self._built[name]
        if name in self._config.groups:
            group = self._built[name] = self._group(name)
            return group
        section = self._config.outbounds[name]
        answers = not isinstance(section, ShadowsocksOutbound | TrojanOutbound)
        health = self.roster.health(name, answers) if name in self._watched else None
        made: Outbound
        if isinstance(section, DirectOutbound):
            options = DialOptions(
                timeout=self._config.limits.dial,
                bind=section.bind,
                interface=section.interface,
                mark=section.mark,
            )
            resolver = self._resolver if section.dns is None else self._resolver.by(section.dns)
            made = Direct(name, self._engine, resolver, options, self._own)
        else:
            via = self._plugged_via(name, section)
            dialect, layers = self._dialect(section), self._layers(name, section)
            if health is not None:
                layers.append(health.noted)
            made = Proxy(name, section.server, via, dialect, self._resolver, layers, self._own)
        if health is not None:
            from byway.outbounds.member import Watched

            made = Watched(made, health)
        self._built[name] = made
        return made

    def _group(self, name: str) -> Outbound:
        """Its members are built before it."""
        from byway.grouping import group_of

        section = self._config.groups[name]
        members = {member: self._outbound(member) for member in section.members}
        return group_of(name, section, members, self.roster, self._config.limits.dial)

    def _dialect(self, section: OutboundConfig) -> Dialect:
        spoken = self._spoken(section)
        if isinstance(section, DirectOutbound | TrojanOutbound) or not section.udp_over_tcp:
            return spoken
        return dialects.UdpOverTcp(spoken, self._engine)

    def _spoken(self, section: OutboundConfig) -> Dialect:
        match section:
            case ShadowsocksOutbound():
                method = shadowsocks.METHODS[section.method]
                password = section.password.get_secret_value()
                if method.is_2022:
                    keys = shadowsocks2022.keys_of(method, password)
                else:
                    keys = (shadowsocks.key_of(method, password),)
                options = shadowsocks.ShadowsocksOptions(method, keys)
                return dialects.Shadowsocks(
                    options, self._kit, self._engine, section.server, section.networks
                )
            case TrojanOutbound():
                return dialects.Trojan(section.password.get_secret_value(), self._engine)
            case DirectOutbound():
                raise TypeError("the direct outbound speaks no protocol")
        word = None if section.password is None else section.password.get_secret_value()
        if isinstance(section, HttpOutbound):
            return dialects.Http(HttpOptions(section.username, word))
        return dialects.Socks(SocksOptions(section.version, section.username, word), self._engine)

    def _layers(self, name: str, section: OutboundConfig) -> list[Layer]:
        if isinstance(section, DirectOutbound | ShadowsocksOutbound) or section.tls is None:
            return []
        secured = SetTls(self._engine, name, section.tls, section.server)
        if problem := secured.read():
            self._log.warning("an outbound is of no use", outbound=name, why=f"tls: {problem}")
        return [secured]

    def _plugged_via(self, name: str, section: OutboundConfig) -> Outbound:
        """How a proxy's server is reached: its `via`, or the plugin in front of it."""
        assert not isinstance(section, DirectOutbound)
        via = self._outbound(section.via or "direct")
        if not isinstance(section, ShadowsocksOutbound) or section.plugin is None:
            return via
        from byway.outbounds.plugged import Plugged as PluggedVia

        told = section.plugin_opts or ""
        plugin = Plugin(section.plugin, told, section.server, None, self._log.info)
        self.plugins.append(plugin)
        self.dialling.append(plugin)
        # Whatever `direct` is bound to leads to the server, and not to a program on this host.
        local = Direct("plugin", self._engine, self._resolver)
        return PluggedVia(name, via, local, plugin.ready)

    def _shadowsocks(
        self,
        name: str,
        section: ShadowsocksInbound,
        listen: list[Address],
        means: Means,
        options: ListenOptions,
    ) -> Inbound:
        entry = Entry(name, means, guarded=section.guarded)
        # Where relayed users go was chosen here and not by a client.
        relayed = Entry(name, means, guarded=section.allow_local is False)
        method = shadowsocks.METHODS[section.method]
        key, users = _server_keys(method, section)
        server: Server
        if method.is_2022:
            server = shadowsocks2022.Server(method, key, self._kit, users)
        else:
            server = shadowsocks.Server(method, key, self._kit)
        greet = Shadowsocks(entry, server, relayed).greet
        streams: Inbound | None = None
        if Network.TCP in section.networks and section.plugin is None:
            streams = StreamInbound(entry, listen, greet, options)
        elif Network.TCP in section.networks:
            streams = self._plugged(section, entry, greet, options)
        if streams is not None and Network.UDP not in section.networks:
            return streams
        packets = [place for place in listen if isinstance(place, Target)]
        whose = [(user.name, entry if user.relay is None else relayed) for user in users]
        codec = SealedPackets(
            method.name, key, tuple(SealedUser(user.key, user.relay) for user in users)
        )
        return Both(name, streams, packets, lambda: PacketDoor(entry, users=whose), codec)

    def _plugged(
        self, section: ShadowsocksInbound, entry: Entry, greet: Greet, options: ListenOptions
    ) -> Plugged:
        public, inner = section.listen[0], loopback_port()
        assert section.plugin is not None
        assert isinstance(public, Target)
        told = section.plugin_opts or ""
        plugin = Plugin(section.plugin, told, public, inner, self._log.info)
        self.plugins.append(plugin)
        return Plugged(StreamInbound(entry, [inner], greet, options), plugin, public)

    def _trojan(self, entry: Entry, section: TrojanInbound) -> Trojan:
        users = {user.name: user.password.get_secret_value() for user in section.users}
        way: Dialer = Direct("web site", self._engine, self._resolver)
        return Trojan(
            entry,
            trojan.Users(users),
            _door(entry, section.tls),
            way,
            section.fallback,
            section.fallback_by_alpn,
        )


def same_way(name: str, old: Config, new: Config) -> bool:
    """Whether an outbound, and all that it leaves through, is the same in both configs."""
    if name in new.groups:
        group, same_time = new.groups[name], old.limits.dial == new.limits.dial
        same = same_time and alike(group, old.groups.get(name))
        return same and all(same_way(member, old, new) for member in group.members)
    section = new.outbounds.get(name)
    if section is None or not alike(section, old.outbounds.get(name)):
        return False
    if (name in _members(old)) != (name in _members(new)):
        return False  # who is a member is watched
    if isinstance(section, DirectOutbound):
        return old.limits.dial == new.limits.dial
    return same_way(section.via or "direct", old, new)


def _members(config: Config) -> Set[str]:
    """The members of all groups."""
    return {member for group in config.groups.values() for member in group.members}


def _server_keys(
    method: shadowsocks.Method, section: ShadowsocksInbound
) -> tuple[bytes, list[shadowsocks2022.User]]:
    """A server's key, and those of its users."""
    password = section.password.get_secret_value()
    if not method.is_2022:
        return shadowsocks.key_of(method, password), []
    users = []
    for user in section.users:
        (key,) = shadowsocks2022.keys_of(method, user.password.get_secret_value())
        users.append(shadowsocks2022.User(user.name, key, user.relay))
    (key,) = shadowsocks2022.keys_of(method, password)
    return key, users


def _door(entry: Entry, tls: ServerTls) -> TlsDoor:
    try:
        return TlsDoor(entry, Certificate(tls.cert, tls.key, tls.alpn, tls.ca))
    except ValueError as error:
        raise OSError(0, f"inbound {entry.name}: tls: {error}") from error
    except OSError as error:
        why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise OSError(error.errno, f"inbound {entry.name}: tls: {why}") from error
