"""Clash's proxies and groups of proxies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from byway.config.tree import TreeError, parse
from byway.importing.draft import Draft, Section, Way
from byway.importing.links import NOT_YET
from byway.importing.source import (
    Fields,
    endpoint,
    fields,
    flag,
    items,
    number,
    probe,
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
}
_DONE = {
    "name", "type", "server", "port", "udp", "dialer-proxy", "cipher", "password", "username",
    "plugin", "plugin-opts", "tls", "sni", "servername", "alpn", "skip-cert-verify", "network",
    "fingerprint", "interface-name", "routing-mark", "udp-over-tcp", "udp-over-tcp-version",
}  # fmt: skip
_SILENT = {"tfo", "fast-open", "mptcp", "client-fingerprint", "ip-version", "country"}
_KINDS = {"select", "url-test", "fallback", "load-balance", "relay"}
_BALANCED = {
    "round-robin": "round-robin",
    "consistent-hashing": "hash",
    "sticky-sessions": "sticky",
}


def read(top: Fields, draft: Draft) -> None:
    """Take over proxies, those of providers that are at hand, and groups."""
    for theirs, ours in BUILT_IN.items():
        if theirs != "DIRECT" or theirs not in draft.names:
            draft.verdict(theirs, ours)
    everything = [(text(fields(node).get("name")), node) for node in items(top.get("proxies"))]
    provided = _provided(top.get("proxy-providers"), draft)
    for name, node in (*everything, *(pair for part in provided.values() for pair in part)):
        if not name:
            draft.note(node.line, "a proxy", "has no name")
        elif name in draft.names or name in draft.gone:
            draft.note(node.line, name, "is there before: the first of a name is kept")
        else:
            _proxy(name, node, draft)
    groups = list(items(top.get("proxy-groups")))
    members = _Members([name for name, _ in everything], provided, draft)
    for node in groups:  # so that each may name those that come later
        name = text(fields(node).get("name"))
        if name:
            draft.group(name, node.line, {"type": "select", "members": []})
    for node in groups:
        _group(node, members, draft)


@dataclass(slots=True)
class _Members:
    """Who may be in a group: by name, or all of a kind."""

    proxies: list[str]
    provided: dict[str, list[tuple[str, Node]]]
    draft: Draft

    def of(self, found: Fields) -> Iterator[str]:
        """The members of a group, in order, each once."""
        named = texts(found.get("proxies"))
        use = texts(found.get("use"))
        if flag(found.get("include-all")) or flag(found.get("include-all-proxies")):
            named += self.proxies
        if flag(found.get("include-all")) or flag(found.get("include-all-providers")):
            use = list(self.provided)
        taken, refused = _matcher(found.get("filter")), _matcher(found.get("exclude-filter"))
        fixed = set(texts(found.get("proxies")))
        for provider in use:
            named += [name for name, _ in self.provided.get(provider, [])]
        for name in dict.fromkeys(named):
            self.draft.step()
            if name in fixed or (taken(name, True) and not refused(name, False)):
                yield name


def _matcher(node: Node | None) -> Callable[[str, bool], bool]:
    """Whether a name fits a filter (several stand between `), or the answer without one."""
    written = text(node)
    if not written:
        return lambda _, without: without
    import re2

    found = []
    for part in written.split("`"):
        try:
            found.append(re2.compile(part))
        except re2.error:
            continue
    return lambda name, _: any(pattern.search(name) for pattern in found)


def _provided(node: Node | None, draft: Draft) -> dict[str, list[tuple[str, Node]]]:
    """The proxies of the providers that are written inline or are files that are there."""
    found: dict[str, list[tuple[str, Node]]] = {}
    for name, provider in fields(node).items():
        part = fields(provider)
        kind = text(part.get("type")).lower()
        payload = part.get("payload")
        if payload is None and (path := text(part.get("path"))):
            payload = _file(Path(draft.folder or ".") / path)
        found[name] = [(text(fields(one).get("name")), one) for one in items(payload)]
        if not found[name]:
            hint = "fetch it yourself: byway import its url" if kind == "http" else "cannot be read"
            draft.note(provider.line, name, f"a provider of proxies is not kept: {hint}")
    return found


def _file(path: Path) -> Node | None:
    try:
        if path.stat().st_size > 16 * 1024 * 1024:
            return None
        root, _ = parse(path.read_text(encoding="utf-8"), foreign=True)
    except (OSError, ValueError, TreeError):
        return None
    return fields(root).get("proxies")


def _proxy(name: str, node: Node, draft: Draft) -> None:
    found = fields(node)
    kind = text(found.get("type")).lower()
    content: Section | None
    match kind:
        case "direct":
            content = {"type": "direct"}
            if interface := text(found.get("interface-name")):
                content["interface"] = interface
            if mark := number(found.get("routing-mark")):
                content["mark"] = mark
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
            if via := text(found.get("dialer-proxy")):
                content["via"] = Way(via)
        case _:
            draft.lost(name, node.line, f"{NOT_YET.get(kind, kind or '?')} is not spoken yet")
            return
    for key, value in found.items():
        if key not in _DONE | _SILENT and said(value):
            draft.note(value.line, name, f"{key} is not kept")
    draft.outbound(name, node.line, content)


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


def _group(node: Node, members: _Members, draft: Draft) -> None:
    found = fields(node)
    name, kind = text(found.get("name")), text(found.get("type")).lower()
    if not name:
        draft.note(node.line, "a group", "has no name")
        return
    ours = draft.names[name]
    named = [Way(one) for one in members.of(found)]
    content: Section = {"type": kind, "members": named}
    if kind not in _KINDS:
        del draft.entries["groups"][ours]
        draft.lost(name, node.line, f"a group of type {kind or '?'} is not there")
        return
    if kind == "relay":
        del draft.entries["groups"][ours]
        _relay(name, node, named, draft)
        return
    if kind == "url-test":
        content["type"] = "fastest"
        if "tolerance" in found:
            content["tolerance"] = f"{min(number(found['tolerance']), 10_000)}ms"
    elif kind == "load-balance":
        content["type"] = "balance"
        strategy = text(found.get("strategy")) or "consistent-hashing"
        content["by"] = _BALANCED.get(strategy, "round-robin")
    if kind != "select":
        content |= probe(found)
    for key in ("interface-name", "routing-mark", "disable-udp"):
        if text(found.get(key)) not in ("", "false"):
            draft.note(found[key].line, name, f"{key} of a group is not kept")
    draft.entries["groups"][ours].content = content


def _relay(name: str, node: Node, hops: list[Way], draft: Draft) -> None:
    """A chain: copies of the hops, each by way of the one before."""
    before: Way | None = None
    for at, hop in enumerate(hops, 1):
        item = draft.entries["outbounds"].get(draft.names.get(hop, ""))
        if item is None or "server" not in item.content or "via" in item.content:
            draft.lost(name, node.line, f"a chain by way of {str(hop)!r} cannot be said here")
            return
        content = dict(item.content)
        if before is not None:
            content["via"] = before
        before = Way(name if at == len(hops) else f"{name} {at}")
        draft.outbound(before, node.line, content)
    if before is None:
        draft.lost(name, node.line, "a chain without a hop")
