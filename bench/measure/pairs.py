"""What pairs have in common: a client on the near host, a server on the far one.

A pair listens on one port number on both hosts. Its client is met by SOCKS5 and asked for the
target, which stands on the far host beside the server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure.processes import Process
from measure.programs import FLOOR, Program
from measure.site import FAR_ADDRESS, Site, output

Settings = Mapping[str, object]

SERVER_NAME = "server.example"
PASSWORD = "correct-horse-battery-staple"
BULK = ("bulk_down_1", "bulk_down_8", "bulk_up_1", "bulk_up_8")


def start_both(
    site: Site,
    name: str,
    server: Sequence[str],
    client: Sequence[str],
) -> list[Process]:
    """Start these two commands, the server on the far host; the client comes last."""
    return [
        Process(namespace, command, site.folder / f"{name}-{side}.log")
        for side, namespace, command in (
            ("server", site.far, server),
            ("client", site.near, client),
        )
    ]


def start_twice(
    site: Site, name: str, words: Sequence[str], server: Settings, client: Settings
) -> list[Process]:
    """Start one program as both: the words, and behind them a file with each one's settings.

    The file is JSON, which is YAML too.
    """
    files = [
        str(site.write(f"{name}-{side}.json", json.dumps(settings)))
        for side, settings in (("server", server), ("client", client))
    ]
    return start_both(site, name, [*words, files[0]], [*words, files[1]])


def certificate(site: Site) -> tuple[str, str]:
    """The files of a certificate for the server's name and of its key, made once for each run."""
    chain, key = site.folder / "server.pem", site.folder / "server.key"
    if not chain.exists():
        output(_request(chain, key))
    return str(chain), str(key)


def _request(chain: Path, key: Path) -> list[str]:
    return [
        *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={SERVER_NAME}"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-addext", f"subjectAltName=DNS:{SERVER_NAME}"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *("-keyout", str(key), "-out", str(chain)),
    ]


def sing_box(
    site: Site, name: str, executable: str, port: int, inbound: Settings, outbound: Settings
) -> list[Process]:
    """sing-box at both ends, by what is special about the server's door and the client's way."""
    quiet = {"log": {"level": "error"}}
    door = {**inbound, "listen": FAR_ADDRESS, "listen_port": port}
    mixed = {"type": "mixed", "listen": "127.0.0.1", "listen_port": port}
    way = {**outbound, "server": FAR_ADDRESS, "server_port": port}
    server = {**quiet, "inbounds": [door], "outbounds": [{"type": "direct"}]}
    client = {**quiet, "inbounds": [mixed], "outbounds": [way]}
    return start_twice(site, f"sing-box-{name}", [executable, "run", "-c"], server, client)


def byway(
    site: Site, name: str, executable: str, port: int, inbound: Settings, outbound: Settings
) -> list[Process]:
    """Byway at both ends, by what is special about the server's door and the client's way."""
    # One client stands for a whole house here, so the bound per source must not be the limit.
    shared = {
        "log": {"level": "warning", "flows": False},
        "control": {"socket": "off"},
        "limits": {"flows_per_source": 16384},
    }
    # The target stands on the server's own host, which a server keeps clients from.
    door = {**inbound, "listen": f"{FAR_ADDRESS}:{port}", "allow_local": True}
    mixed = {"type": "mixed", "listen": f"127.0.0.1:{port}"}
    way = {**outbound, "server": f"{FAR_ADDRESS}:{port}"}
    server = {**shared, "inbounds": {"door": door}}
    client = {
        **shared,
        "inbounds": {"home": mixed},
        "outbounds": {"far": way},
        "rules": [{"otherwise": "far"}],
    }
    return start_twice(site, f"byway-{name}", [executable, "run", "-c"], server, client)


def floor(method: str, port: int, variant: str | None = None) -> Program:
    """The floor of a cipher: measured in memory, so the port is never listened on."""
    return Program(
        FLOOR,
        "loadgen",
        nothing,
        {"memory": port},
        variant=method if variant is None else variant,
        tests=BULK,
        weighed=False,
        bare=("cipher", "--method", method),
    )


def nothing(site: Site, executable: str, port: int) -> list[Process]:
    """Start nothing."""
    return []
