"""Clash and mihomo: names. Hosts, name servers, fake addresses, and what is sniffed."""

from __future__ import annotations

import re
from ipaddress import ip_network

from byway.config.rules.setitems import fault
from byway.importing.draft import LOST, OTHERWISE, Draft, Section, Way, listed
from byway.rules.gathering import is_prefix
from byway.values.foreign import Fields, Foreign, fields, flag, items, number, said, text, texts
from byway.values.written import Node

_DNS_DONE = {
    "enable", "nameserver", "nameserver-policy", "use-hosts", "default-nameserver", "ipv6",
    "proxy-server-nameserver", "respect-rules", "listen", "enhanced-mode", "fake-ip-range",
    "fake-ip-range6", "fake-ip-filter", "fake-ip-filter-mode", "fake-ip-ttl", "use-system-hosts",
}  # fmt: skip
_SERVER = re.compile(r"([a-z0-9]+)://([^/#?]+)(/[^#]*)?(?:#(.*))?")


def read(top: Fields, draft: Draft) -> None:
    """Take over hosts, name servers, fake addresses, and what is sniffed."""
    _sniffer(top, draft)
    made: Section = dict(draft.plain.get("dns", {}))
    hosts: dict[str, object] = {}
    for name, node in fields(top.get("hosts")).items():
        bare = name.removeprefix("+").removeprefix("*").removeprefix(".")
        if "*" in bare or "+" in bare:
            draft.note(node.line, name, "a host name with this wildcard is not known")
            continue
        if name.startswith("*."):
            draft.note(node.line, name, "matches all names below it here, not only one label")
        below = {f"*.{bare}": texts(node)} if name != bare else {}
        itself = {bare: texts(node)} if name == bare or name.startswith("+.") else {}
        hosts = below | itself | hosts if name.startswith("+.") else hosts | below | itself
    if hosts:
        made["hosts"] = hosts
    found = fields(top.get("dns"))
    if flag(found.get("enable")):
        for key, node in found.items():
            if key not in _DNS_DONE and said(node):
                draft.note(node.line, f"dns.{key}", _DNS_REASONS.get(key, "is not kept"))
        _served(found, draft)
        _fake(found, made, draft)
        _servers(found, made, draft)
        if found.get("ipv6") is None or not flag(found.get("ipv6")):
            made["addresses"] = "ipv4"
    if made:
        draft.plain["dns"] = made


def _servers(found: Fields, made: Section, draft: Draft) -> None:
    servers: dict[str, Section] = {}
    by_text: dict[str, str] = {}
    bootstrap = next(
        (word for one in texts(found.get("default-nameserver")) if (word := _address(one)[0])), ""
    )

    def named(node: Node) -> str | None:
        written = text(node)
        if written in by_text:
            return by_text[written]
        address, way = _address(written)
        if not address:
            scheme = re.match(r"[a-z0-9]{1,10}(?=://)", written)  # the rest may hold a token
            draft.note(node.line, scheme[0] if scheme else "a name server", _DNS_WAY)
            if not (draft.hidden(way) if way else by_rules):
                return None
            name = f"dns-{len(servers) + 1}"  # which was to be asked by a proxy: nobody is instead
            servers[name] = {"via": LOST}
            return name
        if address == "system" and not way:
            return "system"
        name = f"dns-{len(servers) + 1}"
        server: Section = {"address": address}
        if way and way != "DIRECT" and draft.known(way):
            server["via"] = Way(way)
        elif not way and by_rules:
            server["via"] = OTHERWISE
        elif way and way != "DIRECT":
            draft.note(node.line, name, f"is asked directly: {way!r} is unknown")
        if "via" in server or not re.match(r"[a-z]+://(?:[0-9.]+(?:[:/]|$)|\[)", address):
            server["bootstrap"] = bootstrap or "system"
        servers[name] = server
        by_text[written] = name
        return name

    def words(node: Node | None) -> list[str]:
        return [name for item in items(node) if (name := named(item))]

    by_rules = False
    rules: list[Section] = []
    of_proxies = words(found.get("proxy-server-nameserver"))
    by_rules = flag(found.get("respect-rules"))  # but for the names of proxies
    by_text.clear()
    use = words(found.get("nameserver"))
    if of_proxies and (hosts := _proxy_hosts(draft)):
        rules.append({"domain": hosts, "use": of_proxies})
    for pattern, node in fields(found.get("nameserver-policy")).items():
        asked = _names_of(pattern, node.line, draft)
        given = [answer for word in texts(node) if (answer := _ANSWERS.get(word.lower()))]
        if asked and given:
            rules.append({**asked, "answer": given[0]})
        elif asked and (of_rule := words(node)):
            rules.append({**asked, "use": of_rule})
    for pattern in texts(fields(found.get("fallback-filter")).get("domain")):
        asked = _names_of(pattern, found["fallback-filter"].line, draft)
        if asked and (of_rule := words(found.get("fallback"))):
            rules.append({**asked, "use": of_rule})
    rules[:0] = [rule for rule in listed(made.get("rules", ())) if isinstance(rule, dict)]
    if servers:
        made["servers"] = {
            name: server if set(server) != {"address"} else server["address"]
            for name, server in servers.items()
        }
    if use:
        made["use"] = use
    if rules:
        made["rules"] = rules


def _served(found: Fields, draft: Draft) -> None:
    """The listener for clients."""
    host, _, port = text(found.get("listen")).rpartition(":")
    if not port.isdigit():
        return
    content: Section = {"type": "dns", "listen": f"{host or '0.0.0.0'}:{port}"}  # noqa: S104
    if not host.startswith("127.") and host not in ("[::1]", "localhost"):
        content["open"] = True
        draft.note(found["listen"].line, "dns", "anyone who can reach it may use it (open: true)")
    draft.inbound("dns", found["listen"].line, content)


def _fake(found: Fields, made: Section, draft: Draft) -> None:
    """Fake addresses, and the names that keep their own."""
    if text(found.get("enhanced-mode")).lower() != "fake-ip":
        return
    fake: Section = {}
    ranges = [text(found.get(key)) for key in ("fake-ip-range", "fake-ip-range6")]
    if any(ranges):
        fake["ranges"] = [str(ip_network(one, strict=False)) for one in ranges if is_prefix(one)]
    if lifetime := number(found.get("fake-ip-ttl")):
        fake["ttl"] = f"{min(max(lifetime, 1), 3600)}s"
    patterns: list[str] = []
    for item in items(found.get("fake-ip-filter")):
        patterns += _kept_real(text(item), item.line, draft)
    if text(found.get("fake-ip-filter-mode")).lower() == "whitelist":
        fake["everywhere"] = False
        made["rules"] = [{**_asked(pattern), "answer": "fake"} for pattern in patterns]
    elif patterns:
        fake["exclude"] = patterns
    made["fake_ip"] = fake or True


def _kept_real(written: str, line: int, draft: Draft) -> list[str]:
    """The patterns of `fake_ip.exclude` that one of theirs becomes."""
    kind, colon, rest = written.partition(":")
    if colon and kind == "rule-set" and rest in draft.sets:
        return [f"set:{draft.sets[rest]}"]
    if colon:
        draft.note(line, written[:80], "there are no sets of this kind: not kept")
        return []
    if written in ("*", ""):
        return []  # names without a dot, which are never faked
    if written.startswith("+."):
        return [written[2:], f"*.{written[2:]}"]
    return [f"*{written}" if written.startswith(".") else written]


def _asked(pattern: str) -> Section:
    """A pattern as the condition of a rule of names."""
    if pattern.startswith("set:"):
        return {"set": pattern.removeprefix("set:")}
    return {"domain_wildcard" if "*" in pattern else "domain": [pattern]}


def hijacked(entry: Foreign, draft: Draft) -> None:
    """What a virtual NIC answers in place of name servers: all that goes to port 53."""
    if any(word.endswith(":53") for word in entry.texts("dns-hijack")):
        draft.plain.setdefault("dns", {})["hijack"] = True


def _sniffer(top: Fields, draft: Draft) -> None:
    """Names in first bytes: dialled in place of addresses unless that is off."""
    node = top.get("sniffer")
    found = fields(node)
    if node is None or not flag(found.get("enable")):
        return
    over = found.get("override-destination")
    draft.plain["names"] = {"sniffed": "judge" if over is not None and not flag(over) else "dial"}
    known = ("enable", "override-destination", "force-dns-mapping", "parse-pure-ip", "sniffing")
    for key, part in found.items():
        if key not in known and said(part):
            draft.note(part.line, f"sniffer.{key}", _SNIFFER.get(key, "is not kept"))


_SNIFFER = {
    "sniff": "all protocols are sniffed on all ports",
    "port-whitelist": "all ports are sniffed",
    "skip-domain": "is not kept: the names of all flows are used",
    "force-domain": "only flows to addresses are sniffed",
}
_ANSWERS = {
    "rcode://success": "empty",
    "rcode://name_error": "nxdomain",
    "rcode://refused": "refuse",
    "rcode://server_failure": "servfail",
}


def _proxy_hosts(draft: Draft) -> list[str]:
    """The names of all proxies' servers, each once."""
    servers = [str(item.content.get("server", "")) for item in draft.entries["outbounds"].values()]
    hosts = [server.rpartition(":")[0] for server in servers]
    return list(
        dict.fromkeys(host for host in hosts if re.search(r"[A-Za-z]", host) and ":" not in host)
    )


def _names_of(pattern: str, line: int, draft: Draft) -> Section:
    """The names a policy is about: `+.a,b`, `rule-set:x,y`; nothing where it cannot be said."""
    kind, colon, rest = pattern.partition(":")
    if colon and kind == "rule-set":
        known = [draft.sets[name] for name in rest.split(",") if name in draft.sets]
        for name in rest.split(","):
            if known and name not in draft.sets:
                draft.note(line, pattern, f"the set {name!r} is not kept")
        if known:
            return {"set": known}
    if colon:
        draft.note(line, pattern, "there are no sets of this kind")
        return {}
    names = [name for word in pattern.split(",") if (name := word.strip())]
    suffixes = [name[2:] for name in names if name.startswith("+.") and "*" not in name]
    if len(suffixes) == len(names):
        return {"domain_suffix": suffixes}
    if not any("*" in name or name.startswith((".", "+")) for name in names):
        return {"domain": names}
    entries = []
    for name in names:
        if why := fault(name, "clash", ()):
            draft.note(line, pattern, f"{name[:80]!r} is not kept: {why}")
        else:
            entries.append(name)
    if not entries:
        return {}
    draft.set(pattern, line, {"format": "clash", "items": entries})
    return {"set": draft.sets[pattern]}


def _address(written: str) -> tuple[str, str]:
    """A server as `dns` has it ("" for what it has not), and the way to it."""
    word, _, way = written.partition("#")
    way = way.partition("&")[0]
    if word in ("system", "system://"):
        return "system", way
    if "://" not in word:
        bare = f"[{word}]" if word.count(":") > 1 and word[:1] != "[" else word
        return (f"udp://{bare}", way) if word and word[:4] != "dhcp" else ("", way)
    found = _SERVER.fullmatch(word)
    if found is None or found[1] not in ("udp", "tcp", "tls", "https"):
        return "", way
    return f"{found[1]}://{found[2]}{found[3] or '' if found[1] == 'https' else ''}", way


_DNS_WAY = "unknown scheme of a name server"
_DNS_REASONS = {
    "fallback": "is used only for the names of fallback-filter: no answer is judged by its address",
    "fallback-filter": "only domain is kept: no answer is judged by its address",
}
