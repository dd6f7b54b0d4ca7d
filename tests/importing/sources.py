"""Sources with proxies that are carried and some that are not, and where their flows end."""

from __future__ import annotations

import json

from byway.config import judge_of
from byway.flow import Flow, Network, Target
from byway.importing import Imported, import_text
from byway.rules import NO_FACTS, Reject, Via

PROXIES = """proxies:
- {name: v, type: snell, server: a.example, port: 1, uuid: x}
- {name: w, type: vmess, server: a.example, port: 1, uuid: x}
- {name: p, type: socks5, server: p.example, port: 1}
- {name: q, type: socks5, server: q.example, port: 1}
"""


def clash(text: str) -> Imported:
    return import_text((PROXIES + text).encode(), "clash.yaml")


def box(*outbounds: dict[str, object], **more: object) -> Imported:
    first = [
        {"type": "snell", "tag": "v", "server": "a.example", "server_port": 1},
        {"type": "socks", "tag": "p", "server": "p.example", "server_port": 1},
        {"type": "direct", "tag": "direct"},
        {"type": "block", "tag": "block"},
    ]
    file = {"outbounds": [*outbounds, *first], **more}
    return import_text(json.dumps(file).encode(), "box.json")


def ends(found: Imported, way: str) -> set[str]:
    """The outbounds that a way may lead to while no person has chosen."""
    if (group := found.config.groups.get(way)) is None:
        return {way}
    if group.type == "select":
        return ends(found, group.default or group.members[0])
    return set().union(*(ends(found, member) for member in group.members))


def ends_of(found: Imported, host: str = "any.example") -> set[str]:
    """Where a flow may come out; `reject` where refused."""
    flow = Flow(1, Network.TCP, "mixed", None, Target.of(host, 443))
    verdict = judge_of(found.config).decide(flow, NO_FACTS)
    match verdict:
        case Via(outbound):
            return ends(found, outbound)
        case Reject():
            return {"reject"}
    raise AssertionError(verdict)
