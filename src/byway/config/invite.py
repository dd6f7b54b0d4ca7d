"""Links to our own inbounds: what somebody needs in order to come by one of them."""

from __future__ import annotations

import re

from byway.config.links import write_link
from byway.config.model import (
    ForwardInbound,
    HttpOutbound,
    InboundConfig,
    OutboundConfig,
    ShadowsocksInbound,
    ShadowsocksOutbound,
    SocksOutbound,
    TrojanInbound,
    TrojanOutbound,
)
from byway.flow import Target
from byway.values.texts import UnixPath
from byway.values.tls import ClientTls
from byway.values.user import User

_SERVERS_OWN = ("server", "failover", "cert", "certRaw", "key", "fast-open")
"""Options that servers of simple-obfs, v2ray-plugin and its kin alone are given."""


def invitations(name: str, inbound: InboundConfig, host: str | None) -> list[tuple[str, str]]:
    """Labels and links, one for each user. `host` is where others reach this host.

    Raises ValueError where there is no link to it, or nobody could follow it.
    """
    server = _server(inbound, host)
    if isinstance(inbound, ForwardInbound):
        raise ValueError("a forward inbound has no link: it is reached without a protocol")
    found: list[tuple[str, OutboundConfig]] = []
    if isinstance(inbound, ShadowsocksInbound):
        found = [(user, _shadowsocks(inbound, server, key)) for user, key in _keys(inbound)]
    elif isinstance(inbound, TrojanInbound):
        for user in inbound.users:
            found.append((user.name, _trojan(inbound, server, user)))
    elif inbound.tls is not None:
        raise ValueError("a link cannot say tls")
    else:
        kind = HttpOutbound if inbound.type == "http" else SocksOutbound
        word = "http" if inbound.type == "http" else "socks"
        for login in inbound.users or (None,):
            made = kind.model_construct(
                type=word,
                server=server,
                username=None if login is None else login.name,
                password=None if login is None else login.password,
            )
            found.append(("" if login is None else login.name, made))
    labelled = [(f"{name}-{user}" if user else name, outbound) for user, outbound in found]
    return [(label, write_link(outbound, label)) for label, outbound in labelled]


def _server(inbound: InboundConfig, host: str | None) -> Target:
    """Where others find it: the host given, and its first port that is not a unix socket's."""
    for place in inbound.listen:
        if isinstance(place, UnixPath):
            continue
        if place.port == 0:
            raise ValueError("its port is chosen at each start: give it one")
        if host is not None:
            return _named(host, place.port)
        if place.packed is not None and any(place.packed):
            return place
        raise ValueError("it listens on all addresses: say with --host how others reach it")
    raise ValueError("nobody else can reach a unix socket")


def _named(host: str, port: int) -> Target:
    try:
        return Target.of(host.strip("[]"), port)
    except ValueError as error:
        raise ValueError(f"{error}; --host is a name or an address, without a port") from None


def _keys(inbound: ShadowsocksInbound) -> list[tuple[str, str]]:
    own = inbound.password.get_secret_value()
    if not inbound.users:
        return [("", own)]
    return [(user.name, f"{own}:{user.password.get_secret_value()}") for user in inbound.users]


def _shadowsocks(inbound: ShadowsocksInbound, server: Target, key: str) -> ShadowsocksOutbound:
    plugin = inbound.plugin
    if plugin is not None:
        program = plugin.rpartition("/")[2]
        plugin = {"obfs-server": "obfs-local"}.get(program, program)
    options = _for_clients(inbound.plugin_opts or "")
    return ShadowsocksOutbound.model_validate(
        {
            "type": "shadowsocks",
            "server": str(server),
            "method": inbound.method,
            "password": key,
            **({} if plugin is None else {"plugin": plugin}),
            **({} if not options else {"plugin_opts": options}),
        }
    )


def _for_clients(options: str) -> str:
    """A plugin's options without those that are the server's own, such as its files."""
    words = re.split(r"(?<!\\);", options)  # SIP003 writes a ; within a value as \;
    return ";".join(word for word in words if word.partition("=")[0] not in _SERVERS_OWN)


def _trojan(inbound: TrojanInbound, server: Target, user: User) -> TrojanOutbound:
    tls = ClientTls(alpn=inbound.tls.alpn)
    return TrojanOutbound.model_construct(
        type="trojan", server=server, password=user.password, via=None, tls=tls
    )
