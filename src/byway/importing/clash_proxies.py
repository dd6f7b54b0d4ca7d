"""Clash's proxies. `clash_providers.py` reads those of providers, `clash_groups.py` the groups."""

from __future__ import annotations

import re

from byway.importing import clash_groups, clash_providers
from byway.importing.draft import NEXT, Draft, Section, Way
from byway.importing.links import NOT_YET
from byway.importing.name_filters import NameFilters
from byway.importing.source import (
    Fields,
    endpoint,
    fields,
    flag,
    items,
    mark_of,
    number,
    said,
    text,
    texts,
)
from byway.values.written import Node

BUILT_IN = {
    "DIRECT": "direct",
    "REJECT": "reject",
    "REJECT-DROP": "drop",
    "REJECT-TINYGIF": "reject",
    "COMPATIBLE": "direct",
    "PASS": NEXT,
}
_DONE = {
    "name", "type", "server", "port", "udp", "dialer-proxy", "cipher", "password", "username",
    "plugin", "plugin-opts", "tls", "sni", "servername", "alpn", "skip-cert-verify", "network",
    "fingerprint", "interface-name", "routing-mark", "udp-over-tcp", "udp-over-tcp-version",
    "ip-version",
}  # fmt: skip
_SILENT = {"tfo", "fast-open", "mptcp", "client-fingerprint", "country"}


def read(top: Fields, draft: Draft) -> None:
    """Take over proxies, those of providers that are at hand, and groups."""
    for theirs, ours in BUILT_IN.items():
        if not draft.known(theirs):
            draft.verdict(theirs, ours)
    filters, kinds = NameFilters(), {}
    proxies: dict[str, None] = {}
    for node in items(top.get("proxies")):
        found = fields(node)
        if not (name := text(found.get("name"))):
            draft.note(node.line, "a proxy", "has no name")
            continue
        if not draft.known(name):
            proxies[name], kinds[name] = None, text(found.get("type")).lower()
        _proxy(name, node.line, found, draft)
    groups = {text(fields(node).get("name")) for node in items(top.get("proxy-groups"))}
    taken = {*proxies, *groups, *BUILT_IN}
    providers = clash_providers.read(top.get("proxy-providers"), taken, filters, draft)
    for provider in providers.values():
        for name, found in provider.ways.items():
            kinds[name] = text(found.get("type")).lower()
            _proxy(name, provider.lines[name], found, draft)
    for node in items(top.get("proxy-groups")):
        kinds.setdefault(text(fields(node).get("name")), text(fields(node).get("type")).lower())
    shown = {way: name for one in providers.values() for way, name in one.shown.items()}
    roster = clash_groups.Roster(tuple(proxies), providers, kinds, shown)
    clash_groups.read(top, roster, filters, draft)
    if not list(items(top.get("rules") or top.get("rule"))):
        provided = [way for one in providers.values() for way in one.ways]
        _without_rules(top, [*proxies, *provided], draft)


def _without_rules(top: Fields, ways: list[str], draft: Draft) -> None:
    """What a provider's URL gives: proxies, and no word of what is to go by them."""
    groups = [text(fields(node).get("name")) for node in items(top.get("proxy-groups"))]
    if groups:
        draft.otherwise = {"otherwise": Way(groups[0])}
        draft.note(0, "rules", f"there are none: everything goes by {groups[0]!r}")
    elif ways:
        draft.otherwise = {"otherwise": Way(ways[0])}
        draft.everything_by(way for way in ways if way not in draft.gone)


def _proxy(name: str, line: int, found: Fields, draft: Draft) -> None:
    kind = text(found.get("type")).lower()
    content: Section | None
    match kind:
        case "direct":
            if via := text(found.get("dialer-proxy")):
                draft.lost(name, line, f"direct by way of {via!r} cannot be said: name that itself")
                return
            content = {"type": "direct", **_leaving(found)}
        case "reject" | "reject-drop":
            draft.verdict(name, "drop" if kind == "reject-drop" else "reject")
            return
        case "ss" | "trojan" | "socks5" | "http":
            content = {"ss": _shadowsocks, "trojan": _trojan}.get(kind, _plain)(name, found, draft)
            if content is None:
                return
            server = endpoint(text(found.get("server")), number(found.get("port")))
            content = {"type": content.pop("type"), "server": server, **content}
            if flag(found.get("udp-over-tcp")):
                _over_tcp(name, kind, found, content, draft)
            _reached(name, found, content, draft)
            _without_udp(name, kind, found, content, draft)
        case _:
            draft.lost(name, line, f"{NOT_YET.get(kind, kind or '?')} is not spoken yet")
            return
    for key, value in found.items():
        if key not in _DONE | _SILENT and said(value):
            draft.note(value.line, name, f"{key} is not kept")
    version = text(found.get("ip-version"))
    if version not in ("", "dual"):
        draft.note(found["ip-version"].line, name, f"ip-version: {version[:20]} is not kept")
    draft.outbound(name, line, content)


def _leaving(found: Fields) -> Section:
    """How a connection leaves this host: by which interface, under which mark."""
    leaving: Section = {}
    if interface := text(found.get("interface-name")):
        leaving["interface"] = interface
    if mark := mark_of(found.get("routing-mark")):
        leaving["mark"] = mark
    return leaving


def _reached(name: str, found: Fields, content: Section, draft: Draft) -> None:
    """How the proxy itself is reached: by another one, by an interface, under a mark."""
    leaving = _leaving(found)
    if via := text(found.get("dialer-proxy")):
        content["via"] = Way(via)
    elif leaving and "plugin" not in content:
        content["via"] = draft.leaving_by(leaving)
    for key in (
        ("interface-name", "routing-mark") if leaving and (via or "plugin" in content) else ()
    ):
        if key in found:
            draft.note(found[key].line, name, f"{key} is not kept")


def _without_udp(name: str, kind: str, found: Fields, content: Section, draft: Draft) -> None:
    if "udp" not in found or flag(found["udp"]) or kind == "http":
        return
    if kind == "ss" and "udp_over_tcp" not in content:
        content["network"] = "tcp"
        why = "udp: false: its UDP is refused here, there it is left to the next rules"
    else:
        why = "udp: false is not kept: it carries UDP here"
    draft.note(found["udp"].line, name, why)


def _over_tcp(name: str, kind: str, found: Fields, content: Section, draft: Draft) -> None:
    """Packets inside a connection: there version 1 unless 2 is asked for, here 2 alone."""
    if kind != "ss" or number(found.get("udp-over-tcp-version")) != 2:
        line = found["udp-over-tcp"].line
        draft.note(line, name, "udp-over-tcp is spoken in version 2 only: not kept")
    else:
        content["udp_over_tcp"] = True


def _shadowsocks(name: str, found: Fields, draft: Draft) -> Section | None:
    content: Section = {
        "type": "shadowsocks",
        "method": text(found.get("cipher")),
        "password": text(found.get("password")),
    }
    plugin, line = text(found.get("plugin")), found["type"].line
    if not plugin:
        return content
    options = fields(found.get("plugin-opts"))
    told = [f"{key}={_escaped(text(value))}" for key, value in options.items()]
    if plugin == "obfs":
        host = text(options.get("host"))
        told = [f"obfs={_escaped(text(options.get('mode')))}"]
        told += [f"obfs-host={_escaped(host)}"] if host else []
        content["plugin"] = "obfs-local"
    elif plugin == "v2ray-plugin":
        told = ["tls"] if flag(options.get("tls")) else []
        told += [
            f"{key}={_escaped(text(options[key]))}" for key in ("host", "path") if key in options
        ]
        if "mux" in options and not flag(options["mux"]):
            told.append("mux=0")
        for key in ("skip-cert-verify", "fingerprint", "headers", "ech-opts"):
            if key in options and text(options[key]) != "false":
                draft.note(options[key].line, name, f"v2ray-plugin cannot be told {key}")
        content["plugin"] = "v2ray-plugin"
    else:
        draft.lost(name, line, f"the plugin {plugin} is not known here")
        return None
    if told:
        content["plugin_opts"] = ";".join(told)
    return content


def _escaped(value: str) -> str:
    """SIP003: a backslash before what would end a value."""
    return re.sub(r"([\\;=])", r"\\\1", value)


def _trojan(name: str, found: Fields, draft: Draft) -> Section | None:
    line = found["type"].line
    if (network := text(found.get("network"))) not in ("", "tcp"):
        draft.lost(name, line, f"trojan over {network} is not spoken yet")
        return None
    if fields(found.get("reality-opts")):
        draft.lost(name, line, "REALITY is not spoken yet")
        return None
    if said(found.get("ss-opts", Node(None))):
        draft.lost(name, line, "trojan with shadowsocks inside (ss-opts) is not spoken")
        return None
    content: Section = {"type": "trojan", "password": text(found.get("password"))}
    tls = _tls(name, found, draft)
    return content | ({"tls": tls} if tls else {})


def _plain(name: str, found: Fields, draft: Draft) -> Section | None:
    content: Section = {"type": {"socks5": "socks"}.get(text(found["type"]).lower(), "http")}
    for key in ("username", "password"):
        if word := text(found.get(key)):
            content[key] = word
    if flag(found.get("tls")):
        content["tls"] = _tls(name, found, draft)
    return content


def _tls(name: str, found: Fields, draft: Draft) -> Section:
    tls: Section = {}
    if sni := text(found.get("sni")) or text(found.get("servername")):
        tls["sni"] = sni
    if alpn := texts(found.get("alpn")):
        tls["alpn"] = alpn
    if pin := text(found.get("fingerprint")).replace(":", ""):
        tls["pin"] = pin
    elif flag(found.get("skip-cert-verify")):
        tls["insecure"] = True
        draft.note(found["skip-cert-verify"].line, name, "trusts anyone, as the file says; pin it")
    return tls
