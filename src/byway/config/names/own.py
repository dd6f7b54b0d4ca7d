"""The names that `dns` itself needs: on the way to a server that is asked for names.

A server reached through a proxy must not be asked for that proxy's name. So such names are asked of
the server's bootstrap whatever the rules say, and who answers for whom must not go round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from byway.config.model import COMMAND, Config
from byway.config.names.dns import Dns
from byway.dns.hosts import Host, Hosts
from byway.flow import packed_address
from byway.values.name_server import SYSTEM
from byway.values.problems import Path, Problems
from byway.values.wrong import Wrong, shown


def hosts_of(dns: Dns) -> Hosts:
    """The entries of `hosts`. Raises Wrong, with the key, for one that is not sound."""
    exact: dict[str, Host] = {}
    below: dict[str, Host] = {}
    for name, words in dns.hosts.items():
        packed = tuple(filter(None, map(packed_address, words)))
        if not packed and len(words) == 1:
            host = Host(alias=words[0])
        elif len(packed) == len(words):
            host = Host(packed)
        else:
            hint = "addresses, or one other name"
            raise Wrong(f"{shown(name)} cannot be all of these", hint, key=("hosts", name))
        if name.startswith("*."):
            below[name[2:]] = host
        else:
            exact[name] = host
    found = Hosts(exact, below)
    for name in exact:
        try:
            found.follow(name)
        except ValueError:
            message = f"loop: the aliases of {shown(name)} lead back to it"
            raise Wrong(message, key=("hosts", name)) from None
    return found


def used_by(config: Config) -> Sequence[tuple[str, ...]]:
    """The servers that ways out have of their own."""
    return [way.asks for way in config.outbounds.values() if way.asks is not None]


def _all_words(config: Config, dns: Dns) -> Sequence[str]:
    """Every server that is named or written anywhere."""
    more = [word for use in used_by(config) for word in use]
    return tuple(dict.fromkeys((*dns.words(), *more)))


def own_names(config: Config, dns: Dns, hosts: Hosts) -> Mapping[str, str]:
    """Each name that the ways to the servers need, and the server that is asked for it."""
    found: dict[str, str] = {}
    for word in _all_words(config, dns):
        server = dns.server(word)
        if server.bootstrap is not None:
            for name in needed(config, dns, word, hosts):
                found.setdefault(name, server.bootstrap)
    return found


def needed(config: Config, dns: Dns, word: str, hosts: Hosts) -> Sequence[str]:
    """The names that have to be resolved here before a server can be asked."""
    server = dns.server(word)
    target, way = server.address.target, server.via or "direct"
    if target is None:
        return ()
    names = dict.fromkeys(_on_the_way(config, way))
    if target.is_name and _resolves_here(config, way):
        names[target.host] = None
    led = (_led(hosts, name) for name in names)
    return tuple(dict.fromkeys(name for name in led if name is not None))


def check_names(config: Config, dns: Dns, problems: Problems) -> None:
    """Note what is wrong between the servers, the rules and the hosts of `dns`."""
    try:
        hosts = hosts_of(dns)
    except Wrong as error:
        problems.wrong(("dns",), error)
        hosts = Hosts()
    _words(config, dns, problems)
    _rules(config, dns, problems)
    _fake_ip(config, dns, problems)
    for name, server in dns.servers.items():
        _server(("dns", "servers", name), name, dns, problems)
        if server.address.target is None:
            continue
        lacking = needed(config, dns, name, hosts) if server.bootstrap is None else ()
        if lacking:
            message = f"the address of {shown(lacking[0])} is unknown"
            hint = f"bootstrap: system, another server that is an address, or hosts: {lacking[0]}"
            problems.add(("dns", "servers", name), message, hint)
    for word in _all_words(config, dns):
        if word not in dns.servers and "://" in word and needed(config, dns, word, hosts):
            message = f"{shown(word)} is a name, which must be resolved first"
            problems.add(
                _place(config, dns, word), message, "add it to dns.servers, with a bootstrap"
            )
    if not problems.errors:
        _loops(config, dns, hosts, problems)


def _on_the_way(config: Config, way: str) -> Sequence[str]:
    """The names of the proxies of a chain that are resolved here."""
    section = config.outbounds.get(way)
    if section is None:
        return [name for member in _members(config, way) for name in _on_the_way(config, member)]
    if section.hop is None:
        return ()
    server, via = section.hop
    own = [server.host] if server.is_name and _resolves_here(config, via) else []
    return [*_on_the_way(config, via), *own]


def _resolves_here(config: Config, way: str) -> bool:
    """Whether a name that is handed to this way comes back to be resolved."""
    section = config.outbounds.get(way)
    if section is None:
        return any(_resolves_here(config, member) for member in _members(config, way))
    return not section.carries_names


def _members(config: Config, group: str) -> Sequence[str]:
    section = getattr(config, "groups", {}).get(group)
    return tuple(getattr(section, "members", ()))


def _led(hosts: Hosts, name: str) -> str | None:
    try:
        name, addresses = hosts.follow(name)
    except ValueError:
        return None
    return name if addresses is None else None


def _words(config: Config, dns: Dns, problems: Problems) -> None:
    """Whoever is to be asked exists."""
    known = (*dns.servers, SYSTEM)
    uses: list[tuple[Path, str]] = [(("dns", "use", at), w) for at, w in enumerate(dns.use)]
    if dns.fallback is not None:
        uses += [(("dns", "fallback", "use", at), w) for at, w in enumerate(dns.fallback.use)]
        if dns.fallback.country is not None and config.geo.country is None:
            hint = "geo: {country: FILE.mmdb}"
            problems.add(("dns", "fallback", "country"), "geo.country is missing", hint)
    for at, rule in enumerate(dns.rules):
        uses += [(("dns", "rules", at, "use", nr), word) for nr, word in enumerate(rule.use)]
    for name, server in dns.servers.items():
        if server.bootstrap is not None:
            uses.append((("dns", "servers", name, "bootstrap"), server.bootstrap))
    for name, section in config.outbounds.items():
        for nr, word in enumerate(section.asks or ()):
            uses.append((("outbounds", name, "dns", nr), word))
    for path, word in uses:
        if "://" not in word and word not in known:
            hint = problems.suggestion(word, known)
            problems.add(path, f"there is no name server {shown(word)}", hint)


def _rules(config: Config, dns: Dns, problems: Problems) -> None:
    for at, rule in enumerate(dns.rules):
        place: Path = ("dns", "rules", at)
        if not rule.model_fields_set - {"use", "answer"}:
            hint = "dns.use is for all other names"
            problems.add(place, "the rule has no condition", hint)
        if not rule.use and rule.answer is None:
            problems.add(place, "use is missing", "add use (a server), or answer")
        elif rule.use and rule.answer is not None and rule.answer.word not in ("real", "fake"):
            message = "the rule has an answer, and a server that is not asked for it"
            problems.add((*place, "use"), message, "leave one of them out", at_key=True)
        for nr, name in enumerate(rule.inbound or ()):
            if name not in config.inbounds and name != COMMAND:
                hint = problems.suggestion(name, config.inbounds)
                problems.add((*place, "inbound", nr), f"there is no inbound {shown(name)}", hint)
        for nr, name in enumerate(rule.set or ()):
            if name not in config.sets:
                hint = problems.suggestion(name, config.sets) if config.sets else "see sets"
                path = ("dns", "rules", at, "set", nr)
                problems.add(path, f"there is no set {shown(name)}", hint)


def _fake_ip(config: Config, dns: Dns, problems: Problems) -> None:
    fake = dns.fake_ip
    if fake is None:
        if any(rule.answer is not None and rule.answer.word == "fake" for rule in dns.rules):
            problems.add(("dns", "rules"), "answer: fake needs dns.fake_ip", "fake_ip: true")
        return
    sizes = [one.size for one in fake.ranges]
    if len(set(sizes)) < len(sizes) or not sizes:
        message = "expected one prefix of IPv4, one of IPv6, or one of each"
        problems.add(("dns", "fake_ip", "ranges"), message)
    for at, one in enumerate(fake.ranges):
        if one.size * 8 - one.bits < 10:
            message = "the prefix has room for too few addresses"
            problems.add(("dns", "fake_ip", "ranges", at), message, "/22 or larger for IPv4")
    for at, word in enumerate(fake.exclude):
        name = word.removeprefix("set:")
        if word.startswith("set:") and name not in config.sets:
            hint = problems.suggestion(name, config.sets) if config.sets else "see sets"
            problems.add(("dns", "fake_ip", "exclude", at), f"there is no set {shown(name)}", hint)


def _server(path: Path, name: str, dns: Dns, problems: Problems) -> None:
    server = dns.servers[name]
    scheme = server.address.scheme
    if name == SYSTEM and scheme != SYSTEM:
        problems.add(path, "system is the host's own resolver", "choose another name", True)
    if server.tls is not None and scheme not in ("tls", "https"):
        problems.add((*path, "tls"), f"{server.address} does not use TLS", "tls:// or https://")
    for key in ("via", "bootstrap", "client_subnet"):
        if scheme == SYSTEM and getattr(server, key) is not None:
            what = "be told of a subnet" if key == "client_subnet" else "use an outbound"
            message = f"the system's resolver cannot {what}"
            problems.add((*path, key), message, "leave it out")


def _loops(config: Config, dns: Dns, hosts: Hosts, problems: Problems) -> None:
    """Whom a server needs must not need that server; each loop is told once."""
    own = own_names(config, dns, hosts)
    needs = {
        word: [own[name] for name in needed(config, dns, word, hosts)]
        for word in _all_words(config, dns)
    }
    done: set[str] = set()
    for start in needs:
        loop = _loop(start, needs, (), done)
        if loop:
            message = f"loop: {' needs '.join(loop)}"
            hint = "one bootstrap must be an address, or system"
            problems.add(("dns", "servers", loop[0], "bootstrap"), message, hint)
            return


def _loop(
    word: str, needs: Mapping[str, Sequence[str]], path: tuple[str, ...], done: set[str]
) -> tuple[str, ...]:
    if word in path:
        return (*path[path.index(word) :], word)
    if word in done:
        return ()
    for other in needs.get(word, ()):
        loop = _loop(other, needs, (*path, word), done)
        if loop:
            return loop
    done.add(word)
    return ()


def _place(config: Config, dns: Dns, word: str) -> Path:
    """Where an address that is no named server is written."""
    for way, section in config.outbounds.items():
        if word in (use := section.asks or ()):
            return ("outbounds", way, "dns", use.index(word))
    for at, rule in enumerate(dns.rules):
        if word in rule.use:
            return ("dns", "rules", at, "use", rule.use.index(word))
    if word in dns.use:
        return ("dns", "use", dns.use.index(word))
    if dns.fallback is not None and word in dns.fallback.use:
        return ("dns", "fallback", "use", dns.fallback.use.index(word))
    name = next(name for name, server in dns.servers.items() if server.bootstrap == word)
    return ("dns", "servers", name, "bootstrap")
