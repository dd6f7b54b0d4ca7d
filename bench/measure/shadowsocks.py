"""The shadowsocks pairs: each program by each method it speaks."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from measure import pairs
from measure.processes import Process
from measure.programs import Program, Start
from measure.site import FAR_ADDRESS, PORTS, Site

METHODS = (
    "aes-128-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
    "2022-blake3-chacha20-poly1305",
)
CLASSIC = METHODS[:3]
PRIMARY = (METHODS[0], METHODS[2], METHODS[3])
"""Measured by every test, one for each kind; of the others bulk alone is different."""

_IDLE = 3000
_V2RAY_NAMES = {"chacha20-ietf-poly1305": "chacha20-poly1305"}


def secret(method: str) -> str:
    """The password; for the 2022 edition a key of the method's length, in base64."""
    if not method.startswith("2022-"):
        return pairs.PASSWORD
    return base64.b64encode(bytes(range(16 if "128" in method else 32))).decode()


def _byway(method: str) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        end = {"type": "shadowsocks", "method": method, "password": secret(method)}
        return pairs.byway(site, method, executable, port, end, end)

    return start


def _sing_box(method: str) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        end = {"type": "shadowsocks", "method": method, "password": secret(method)}
        return pairs.sing_box(site, method, executable, port, end, end)

    return start


def _libev(method: str) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        client = str(Path(executable).with_name("ss-local"))
        both = ["-k", secret(method), "-m", method, "-u", "-n", "20000", "--no-delay"]
        both += ["-s", FAR_ADDRESS, "-p", str(port)]
        near = [client, *both, "-b", "127.0.0.1", "-l", str(port)]
        return pairs.start_both(site, f"libev-{method}", [executable, *both], near)

    return start


def _v2ray(method: str) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        end = {"method": _V2RAY_NAMES.get(method, method), "password": secret(method)}
        quiet = {"log": {"loglevel": "error", "access": "none"}}
        door = {"listen": FAR_ADDRESS, "port": port, "protocol": "shadowsocks", "settings": end}
        socks = {"listen": "127.0.0.1", "port": port, "protocol": "socks"}
        servers = {"servers": [{**end, "address": FAR_ADDRESS, "port": port}]}
        way = {"protocol": "shadowsocks", "settings": servers}
        server = {**quiet, "inbounds": [door], "outbounds": [{"protocol": "freedom"}]}
        client = {**quiet, "inbounds": [socks], "outbounds": [way]}
        return pairs.start_twice(site, f"v2ray-{method}", [executable, "-config"], server, client)

    return start


def _rust(method: str) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        client = str(Path(executable).with_name("sslocal"))
        both = ["-m", method, "-k", secret(method), "-s", f"{FAR_ADDRESS}:{port}", "-U"]
        both += ["--tcp-no-delay", "-n", "20000"]
        near = [client, *both, "-b", f"127.0.0.1:{port}"]
        return pairs.start_both(site, f"rust-{method}", [executable, *both], near)

    return start


def _mihomo(method: str) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        end = {"type": "shadowsocks", "port": port, "password": secret(method), "udp": True}
        way = {**end, "type": "ss", "name": "far", "server": FAR_ADDRESS, "cipher": method}
        door = {**end, "name": "door", "listen": FAR_ADDRESS, "cipher": method}
        # Both ends share a folder, so neither may keep anything in it.
        forgetful = {"store-selected": False, "store-fake-ip": False}
        quiet = {"log-level": "silent", "geo-auto-update": False, "profile": forgetful}
        server = {**quiet, "mode": "direct", "listeners": [door]}
        client = {
            **quiet,
            "mixed-port": port,
            "bind-address": "127.0.0.1",
            "mode": "rule",
            "proxies": [way],
            "rules": ["MATCH,far"],
        }
        words = [executable, "-d", str(site.folder), "-f"]
        return pairs.start_twice(site, f"mihomo-{method}", words, server, client)

    return start


def _pair(name: str, executable: str, **more: Any) -> Program:
    """What all methods of a program share."""
    return Program(name, executable, pairs.nothing, {}, pair=True, idle_flows=_IDLE, **more)


_LIBEV = "shadowsocks-libev"
_KINDS: tuple[tuple[Program, Callable[[str], Start], Sequence[str]], ...] = (
    (_pair("byway", "byway", packets=True), _byway, METHODS),
    (_pair("sing-box", "sing-box", packets=True, version=("version",)), _sing_box, METHODS),
    (_pair("mihomo", "mihomo", packets=True, version=("-v",)), _mihomo, METHODS),
    (_pair("shadowsocks-rust", "ssserver", packets=True), _rust, METHODS),
    (_pair(_LIBEV, "ss-server", packets=True, package=_LIBEV), _libev, CLASSIC),
    (_pair("v2ray", "v2ray", version=("-version",)), _v2ray, (METHODS[0], METHODS[2])),
)


def _programs() -> Iterator[Program]:
    ports = count(PORTS.start)
    for method in METHODS:
        yield pairs.floor(method, next(ports))
        for program, start, methods in _KINDS:
            if method in methods:
                yield replace(
                    program,
                    start=start(method),
                    entries={"socks5": next(ports)},
                    variant=method,
                    tests=() if method in PRIMARY else pairs.BULK,
                    weighed=method == METHODS[0],
                )


PROGRAMS: tuple[Program, ...] = tuple(_programs())
