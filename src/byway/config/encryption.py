"""What must fit together in the sections that encrypt: methods, keys, certificates, plugins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from byway.config.model import Config, DirectOutbound
from byway.protocols.shadowsocks import METHODS, Method
from byway.protocols.shadowsocks2022 import keys_of
from byway.values.problems import Path, Problems
from byway.values.tls import ClientTls
from byway.values.written import Node

_IN_THE_MANUAL = ("AAECAwQFBgcICQoLDA0ODw==",)
"""Keys of our examples, which are easily copied with the rest."""


def check_inbound(path: Path, inbound: Node, problems: Problems) -> None:
    """Note what does not fit in an inbound."""
    _tls((*path, "tls"), inbound.get("tls"), problems)
    kind = _text(inbound, "type")
    if kind == "trojan":
        _passwords(path, inbound, problems)
    if kind != "shadowsocks":
        return
    _plugin(path, inbound, problems)
    listen = inbound.get("listen")
    if inbound.get("plugin") is not None and listen is not None:
        items = listen.items()
        if len(items) != 1 or str(items[0].content).startswith("unix:"):
            hint = "it is the plugin that listens, and it does so in one place"
            problems.add((*path, "listen"), "a plugin needs just one address and port", hint)
    method = METHODS.get(_text(inbound, "method").lower())
    if method is None:
        return
    _key(path, inbound, method, problems, single=True)
    if list(_users(inbound)) and not method.has_identities:
        several = ", ".join(name for name, other in METHODS.items() if other.has_identities)
        problems.add((*path, "users"), f"{method.name} has one user", f"several: {several}")
        return
    for at, user in _users(inbound):
        _key((*path, "users", at), user, method, problems, single=True)
    _passwords(path, inbound, problems)


def check_outbound(path: Path, outbound: Node, problems: Problems) -> None:
    """Note what does not fit in an outbound."""
    _tls((*path, "tls"), outbound.get("tls"), problems)
    if _text(outbound, "type") != "shadowsocks":
        return
    _plugin(path, outbound, problems)
    if outbound.get("plugin") is not None and outbound.get("via") is not None:
        hint = "a plugin dials by itself; chain without it"
        problems.add((*path, "via"), "a plugin cannot go by way of an outbound", hint)
    method = METHODS.get(_text(outbound, "method").lower())
    if method is not None:
        _key(path, outbound, method, problems, single=False)


def warn(config: Config, problems: Problems) -> None:
    """Note what is odd in a config without errors."""
    for word, server in (config.dns.servers if config.dns is not None else {}).items():
        if server.tls is not None:
            _warn_of_files(("dns", "servers", word, "tls"), server.tls, problems)
    for name, inbound in config.inbounds.items():
        key = inbound.password.get_secret_value() if inbound.type == "shadowsocks" else ""
        if key in _IN_THE_MANUAL:
            what = "this key stands in the manual, so everybody has it"
            hint = "byway password makes one of your own"
            problems.warn(("inbounds", name, "password"), what, hint)
        _warn_of_plugin(("inbounds", name), inbound, problems)
    for name, outbound in config.outbounds.items():
        _warn_of_plugin(("outbounds", name), outbound, problems)
        tls = None if isinstance(outbound, DirectOutbound) else getattr(outbound, "tls", None)
        if isinstance(tls, ClientTls):
            _warn_of_files(("outbounds", name, "tls"), tls, problems)
        if isinstance(tls, ClientTls) and tls.insecure:
            problems.warn(
                ("outbounds", name, "tls", "insecure"),
                "whoever stands in between can read and change all of it",
                "use pin, or ca",
            )


def _warn_of_plugin(path: Path, section: object, problems: Problems) -> None:
    plugin = getattr(section, "plugin", None)
    if plugin is not None and shutil.which(plugin) is None:
        where = "there" if "/" in plugin else "in PATH"
        hint = "install it, or give its path: until then, nothing goes this way"
        problems.warn((*path, "plugin"), f"no program {plugin} is {where}", hint)


def _warn_of_files(path: Path, tls: ClientTls, problems: Problems) -> None:
    for key in ("ca", "cert", "key"):
        file = getattr(tls, key)
        if file is not None and not os.access(file, os.R_OK):
            hint = "until it can be, nothing goes this way"
            problems.warn((*path, key), f"{file} cannot be read", hint)


def _key(path: Path, node: Node, method: Method, problems: Problems, single: bool) -> None:
    """A 2022 password is a key, or (at a client) several."""
    password = node.get("password")
    if not method.is_2022 or password is None or not isinstance(password.content, str):
        return
    try:
        keys = keys_of(method, password.content)
    except ValueError as error:
        problems.add((*path, "password"), str(error), f"byway password {method.name} makes one")
        return
    if single and len(keys) > 1:
        hint = "the server's key is its password, and each user has one of its own"
        problems.add((*path, "password"), "only one key stands here", hint)


def _plugin(path: Path, node: Node, problems: Problems) -> None:
    if node.get("plugin_opts") is not None and node.get("plugin") is None:
        problems.add((*path, "plugin_opts"), "options without a plugin", "add plugin")
    network = node.get("network")
    if node.get("plugin") is None or network is None:
        return
    if "tcp" not in [str(item.content) for item in network.items()]:
        hint = "leave the plugin out, or add tcp"
        problems.add((*path, "network"), "plugins carry TCP alone, and it is not among these", hint)


def _passwords(path: Path, inbound: Node, problems: Problems) -> None:
    """Users are told apart by their passwords alone."""
    seen: set[str] = set()
    for at, user in _users(inbound):
        password = user.get("password")
        if password is not None and isinstance(password.content, str):
            if password.content in seen:
                where = (*path, "users", at, "password")
                problems.add(where, "another user has this password", "it tells who it is")
            seen.add(password.content)


def _tls(path: Path, tls: Node | None, problems: Problems) -> None:
    if tls is None:
        return
    for one, other in (("cert", "key"), ("key", "cert")):
        if tls.get(one) is not None and tls.get(other) is None and path[0] == "outbounds":
            problems.add((*path, one), f"{one} without {other}", f"add {other}")
    insecure = tls.get("insecure")
    if insecure is not None and insecure.content is True:
        for key in ("pin", "ca"):
            if tls.get(key) is not None:
                problems.add((*path, key), f"{key} and insecure at once", "leave one of them out")


def _users(inbound: Node) -> Iterator[tuple[int, Node]]:
    users = inbound.get("users")
    return iter(()) if users is None else enumerate(users.items())


def _text(node: Node, key: str) -> str:
    found = node.get(key)
    return found.content if found is not None and isinstance(found.content, str) else ""
