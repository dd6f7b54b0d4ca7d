"""The rules as a PAC file: what a browser may reach directly, and the proxy for all the rest.

A PAC file says DIRECT only where Byway would surely send the flow direct and unaltered. What it
cannot know (an address, a user, the time) is left to Byway.
"""

from __future__ import annotations

import json
from collections.abc import Collection

from byway.config.model import Config
from byway.config.rules.conditions import RuleEntry
from byway.flow import Network, Target

KNOWN = {"domain", "domain_suffix", "port", "network", "inbound", "to", "otherwise", "enabled"}
"""The conditions that a browser can judge, or that are settled for one inbound."""


def pac_file(
    config: Config, inbound: str, proxy: Target, off: Collection[int] = frozenset()
) -> str:
    """The file for those who reach an inbound at `proxy`, while the rules `off` (from 0) are
    disabled. All in it is JSON, so nothing escapes."""
    section = config.inbounds[inbound]
    plain = config.outbounds["direct"].is_plain
    open_way = plain and not section.guarded and not section.beyond_loopback
    rules = [] if not open_way else list(_rules(config, inbound, off))
    return _FILE % (json.dumps(f"PROXY {proxy}"), json.dumps(rules))


def _rules(config: Config, inbound: str, off: Collection[int]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for at, entry in enumerate(config.rules):
        if at in off or not entry.enabled or (entry.inbound and inbound not in entry.inbound):
            continue
        if entry.network and Network.TCP not in entry.network:
            continue
        found.append(
            {
                "names": list(entry.domain or ()),
                "suffixes": list(entry.domain_suffix or ()),
                "ports": [list(ports) for ports in entry.port or ()],
                "direct": entry.way == "direct" and _is_known(entry),
            }
        )
    return found if config.rules else [_EVERYTHING]


def _is_known(entry: RuleEntry) -> bool:
    return all(
        getattr(entry, key) in (None, ()) for key in type(entry).model_fields if key not in KNOWN
    )


_EVERYTHING: dict[str, object] = {"names": [], "suffixes": [], "ports": [], "direct": True}

_FILE = """\
function FindProxyForURL(url, host) {
  var proxy = %s, rules = %s;
  var ports = {http: 80, https: 443, ws: 80, wss: 443, ftp: 21};
  var parts =
    /^([a-z]+):\\/\\/(?:[^\\/?#@]*@)?(?:\\[[^\\]]*\\]|[^:\\/?#]*)(?::([0-9]+))?/i;
  var found = parts.exec(url);
  if (!found) return proxy;
  var port = found[2] ? Number(found[2]) : ports[found[1].toLowerCase()];
  host = host.toLowerCase().replace(/\\.$/, "");
  for (var i = 0; i < rules.length; i++) {
    var rule = rules[i], j, ok = !rule.ports.length;
    for (j = 0; j < rule.ports.length; j++)
      if (rule.ports[j][0] <= port && port <= rule.ports[j][1]) ok = true;
    if (!ok) continue;
    ok = !rule.names.length || rule.names.indexOf(host) >= 0;
    if (!ok) continue;
    ok = !rule.suffixes.length;
    for (j = 0; j < rule.suffixes.length; j++) {
      var end = "." + rule.suffixes[j];
      if (("." + host).slice(-end.length) === end) ok = true;
    }
    if (ok) return rule.direct ? "DIRECT" : proxy;
  }
  return proxy;
}
"""
