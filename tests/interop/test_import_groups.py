"""The members of imported groups are those that mihomo itself gives them, and the first choice too.

Groups for a person to choose alone: no other kind asks the web of its own accord.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from byway.importing import import_text
from tests.interop.programs import free_port
from tests.interop.upstreams import mihomo

pytestmark = pytest.mark.interop

PROXIES = [
    {"name": name, "type": kind, "server": "127.0.0.1", "port": 1, **more}
    for name, kind, more in (
        ("us 1", "socks5", {}),
        ("hk 1", "socks5", {}),
        ("cn 1", "http", {}),
        ("hk old", "ss", {"cipher": "aes-128-gcm", "password": "x"}),
        ("香港", "trojan", {"password": "x"}),
    )
]
PROVIDERS = {
    "zz": {
        "type": "inline",
        "payload": [PROXIES[0], {**PROXIES[1], "name": "hk z"}, {**PROXIES[2], "name": "cn z"}],
        "filter": "us|z",
        "exclude-filter": "cn",
        "override": {
            "additional-prefix": "z ",
            "additional-suffix": " end",
            "proxy-name": [{"pattern": "(hk) (z)", "target": "$2-$1"}],
        },
    },
    "aa": {
        "type": "inline",
        "payload": [{**PROXIES[3], "name": "hk a"}, {**PROXIES[0], "name": "us a"}],
        "exclude-type": "ss",
    },
}
GROUPS: dict[str, dict[str, Any]] = {
    "plain": {"proxies": ["hk 1", "DIRECT", "us 1"]},
    "everything": {"include-all": True},
    "named-first": {"proxies": ["us 1", "DIRECT"], "include-all": True},
    "proxies": {"include-all-proxies": True},
    "providers": {"include-all-providers": True},
    "used": {"use": ["zz", "aa"], "proxies": ["cn 1"]},
    "filtered": {"include-all": True, "filter": "hk"},
    "in-turn": {"include-all-proxies": True, "filter": "us`hk`香"},
    "in-turn-of-all": {"include-all": True, "filter": "us`hk"},
    "in-turn-of-named": {"proxies": ["DIRECT", "us 1"], "use": ["zz", "aa"], "filter": "hk`us"},
    "in-turn-of-one": {"use": ["zz"], "filter": "hk`us"},
    "in-turn-of-two": {"use": ["zz", "aa"], "filter": "hk`us"},
    "without": {"include-all": True, "filter": "^(?!.*(?:cn|old)).*$"},
    "behind": {"include-all-proxies": True, "filter": r"(?<=hk )\d"},
    "case": {"include-all-proxies": True, "filter": "(?i)HK"},
    "script": {"include-all-proxies": True, "filter": r"^\p{Han}+$"},
    "excluded": {"include-all": True, "exclude-filter": "hk`end$"},
    "named-excluded": {"proxies": ["hk 1", "DIRECT", "us 1"], "exclude-filter": "hk|DIR"},
    "kinds": {"include-all": True, "exclude-type": "Shadowsocks|http"},
    "kind-direct": {"proxies": ["DIRECT", "us 1"], "exclude-type": "direct"},
    "kind-group": {"proxies": ["plain", "used", "us 1"], "exclude-type": "selector"},
    "use-filter": {"use": ["zz"], "proxies": ["cn 1"], "filter": "z-hk"},
    "else": {"include-all": True, "filter": "nothing", "empty-fallback": "us 1"},
    "chosen": {"proxies": ["hk 1", "us 1"], "default-selected": "us 1"},
}


def test_groups_have_the_members_that_mihomo_gives_them(tmp_path: Path) -> None:
    port, control = free_port(), free_port()
    groups = [{"name": name, "type": "select", **group} for name, group in GROUPS.items()]
    config = {
        "mixed-port": port,
        "proxies": PROXIES,
        "proxy-providers": PROVIDERS,
        "proxy-groups": groups,
        "rules": ["MATCH,plain"],
    }
    with mihomo(tmp_path, {**config, "external-controller": f"127.0.0.1:{control}"}, port, control):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{control}/proxies", timeout=20) as answer:
            theirs = json.load(answer)["proxies"]

    ours = import_text(json.dumps(config).encode(), "clash.yaml").config.groups

    told = {"direct": "DIRECT", "us 1 (zz)": "z us 1 end"}
    for name in GROUPS:
        members = [told.get(one, one) for one in ours[name].members]
        assert members == list(dict.fromkeys(theirs[name]["all"])), name
        first = ours[name].default or ours[name].members[0]  # type: ignore[union-attr]
        assert told.get(first, first) == theirs[name]["now"], name
