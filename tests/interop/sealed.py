"""Real shadowsocks and trojan programs, servers and clients, on free ports of loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from tests.interop.byway import Config
from tests.interop.conftest import Certificate
from tests.interop.programs import free_port, need, running
from tests.interop.upstreams import mihomo, sing_box

AEAD = ("aes-128-gcm", "aes-256-gcm", "chacha20-ietf-poly1305")
NEW = ("2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305")
HOST = "127.0.0.1"

Server = Callable[[Path, str], AbstractContextManager[int]]
"""Starts a server for a method in a folder; the block gets its port."""

Client = Callable[[Path, str, int], AbstractContextManager[int]]
"""Starts a client of the server at a port; the block gets the port of its SOCKS proxy."""


def secret(method: str, seed: int = 1) -> str:
    """A password, or a key of the right length."""
    if not method.startswith("2022-"):
        return "a secret: 100%"
    return base64.b64encode(bytes([seed]) * (16 if "128" in method else 32)).decode()


@contextmanager
def ss_server(folder: Path, method: str, plugin: str = "", options: str = "") -> Iterator[int]:
    """shadowsocks-libev's server."""
    port = free_port()
    words = [need("ss-server"), "-u", "-s", HOST, "-p", port, "-m", method, "-k", secret(method)]
    words += ["--plugin", need(plugin), "--plugin-opts", options] if plugin else []
    with running([str(word) for word in words], folder / "ss-server.log", port):
        yield port


@contextmanager
def ss_local(
    folder: Path, method: str, server: int, plugin: str = "", options: str = ""
) -> Iterator[int]:
    """shadowsocks-libev's client."""
    port = free_port()
    words = [need("ss-local"), "-u", "-s", HOST, "-p", server, "-b", HOST, "-l", port]
    words += ["-m", method, "-k", secret(method)]
    words += ["--plugin", need(plugin), "--plugin-opts", options] if plugin else []
    with running([str(word) for word in words], folder / "ss-local.log", port):
        yield port


@contextmanager
def v2ray_server(folder: Path, method: str) -> Iterator[int]:
    """v2ray's shadowsocks server."""
    port = free_port()
    settings = {"method": method, "password": secret(method), "network": "tcp,udp"}
    inbound = {"protocol": "shadowsocks", "listen": HOST, "port": port, "settings": settings}
    with _v2ray(folder, inbound, {"protocol": "freedom"}, port):
        yield port


@contextmanager
def v2ray_client(folder: Path, method: str, server: int) -> Iterator[int]:
    """v2ray's shadowsocks client."""
    port = free_port()
    there = {"address": HOST, "port": server, "method": method, "password": secret(method)}
    outbound = {"protocol": "shadowsocks", "settings": {"servers": [there]}}
    inbound = {"protocol": "socks", "listen": HOST, "port": port, "settings": {"udp": True}}
    with _v2ray(folder, inbound, outbound, port):
        yield port


@contextmanager
def sing_server(
    folder: Path, method: str, users: tuple[int, ...] = (), seed: int = 1
) -> Iterator[int]:
    """sing-box's shadowsocks server."""
    port = free_port()
    inbound: Config = {
        "type": "shadowsocks",
        "listen": HOST,
        "listen_port": port,
        "method": method,
        "password": secret(method, seed),
    }
    if users:
        inbound["users"] = [
            {"name": f"user {user}", "password": secret(method, user)} for user in users
        ]
    with sing_box(folder, [inbound], {"type": "direct"}):
        yield port


@contextmanager
def sing_client(
    folder: Path, method: str, server: int, password: str | None = None
) -> Iterator[int]:
    """sing-box's shadowsocks client."""
    port = free_port()
    inbound: Config = {"type": "mixed", "listen": HOST, "listen_port": port}
    outbound = {
        "type": "shadowsocks",
        "tag": "out",
        "server": HOST,
        "server_port": server,
        "method": method,
        "password": password or secret(method),
    }
    with sing_box(folder, [inbound], outbound):
        yield port


@contextmanager
def sing_relay(folder: Path, method: str, destinations: dict[int, int]) -> Iterator[int]:
    """sing-box as a relay: the ports of the servers behind it, by the seed of their key."""
    port = free_port()
    inbound: Config = {
        "type": "shadowsocks",
        "listen": HOST,
        "listen_port": port,
        "method": method,
        "password": secret(method),
        "destinations": [
            {
                "name": f"next {seed}",
                "server": HOST,
                "server_port": there,
                "password": secret(method, seed),
            }
            for seed, there in destinations.items()
        ],
    }
    with sing_box(folder, [inbound], {"type": "direct"}):
        yield port


@contextmanager
def mihomo_server(folder: Path, method: str) -> Iterator[int]:
    """mihomo's shadowsocks server."""
    port = free_port()
    listener = _mihomo_listener("shadowsocks", port, cipher=method, password=secret(method))
    with mihomo(folder, {"listeners": [listener], "rules": ["MATCH,DIRECT"]}, port):
        yield port


@contextmanager
def mihomo_client(folder: Path, method: str, server: int) -> Iterator[int]:
    """mihomo's shadowsocks client."""
    with _mihomo_by(folder, "ss", server, cipher=method, password=secret(method)) as port:
        yield port


@contextmanager
def mihomo_trojan_server(folder: Path, certificate: Certificate, _: int) -> Iterator[int]:
    """mihomo as a trojan server; it has no web site."""
    port = free_port()
    tls = {"certificate": certificate.chain.read_text(), "private-key": certificate.key.read_text()}
    users = [{"username": "ann", "password": "correct horse"}]
    listener = _mihomo_listener("trojan", port, users=users, **tls)
    with mihomo(folder, {"listeners": [listener], "rules": ["MATCH,DIRECT"]}, port):
        yield port


@contextmanager
def mihomo_trojan_client(folder: Path, certificate: Certificate, server: int) -> Iterator[int]:
    """mihomo as a trojan client."""
    der = ssl.PEM_cert_to_DER_cert(certificate.chain.read_text())
    tls = {"sni": "localhost", "fingerprint": hashlib.sha256(der).hexdigest()}
    with _mihomo_by(folder, "trojan", server, password="correct horse", **tls) as port:
        yield port


def _mihomo_listener(kind: str, port: int, **more: object) -> Config:
    return {"name": "in", "type": kind, "listen": HOST, "port": port, "udp": True, **more}


@contextmanager
def _mihomo_by(folder: Path, kind: str, server: int, **more: object) -> Iterator[int]:
    port = free_port()
    way = {"name": "out", "type": kind, "server": HOST, "port": server, "udp": True, **more}
    listeners = [_mihomo_listener("mixed", port)]
    with mihomo(folder, {"listeners": listeners, "proxies": [way], "rules": ["MATCH,out"]}, port):
        yield port


@contextmanager
def trojan_server(folder: Path, certificate: Certificate, site: int) -> Iterator[int]:
    """trojan 1.16 as a server."""
    port = free_port()
    tls = {"cert": str(certificate.chain), "key": str(certificate.key), "alpn": ["http/1.1"]}
    with _trojan(folder, port, "server", site, tls):
        yield port


@contextmanager
def trojan_client(folder: Path, certificate: Certificate, server: int) -> Iterator[int]:
    """trojan 1.16 as a client."""
    port = free_port()
    tls = {"cert": str(certificate.chain), "sni": "localhost", "alpn": ["h2", "http/1.1"]}
    with _trojan(folder, port, "client", server, {"verify": True, "verify_hostname": True, **tls}):
        yield port


@contextmanager
def sing_trojan_server(folder: Path, certificate: Certificate, site: int) -> Iterator[int]:
    """sing-box as a trojan server."""
    port = free_port()
    files = {"certificate_path": str(certificate.chain), "key_path": str(certificate.key)}
    inbound: Config = {
        "type": "trojan",
        "listen": HOST,
        "listen_port": port,
        "users": [{"name": "ann", "password": "correct horse"}],
        "tls": {"enabled": True, **files},
        "fallback": {"server": HOST, "server_port": site},
    }
    with sing_box(folder, [inbound], {"type": "direct"}):
        yield port


@contextmanager
def sing_trojan_client(folder: Path, certificate: Certificate, server: int) -> Iterator[int]:
    """sing-box as a trojan client."""
    port = free_port()
    tls = {"enabled": True, "server_name": "localhost", "certificate_path": str(certificate.chain)}
    outbound = {
        "type": "trojan",
        "tag": "out",
        "server": HOST,
        "server_port": server,
        "password": "correct horse",
        "tls": tls,
    }
    with sing_box(folder, [{"type": "mixed", "listen": HOST, "listen_port": port}], outbound):
        yield port


@contextmanager
def _v2ray(
    folder: Path, inbound: dict[str, Any], outbound: dict[str, Any], port: int
) -> Iterator[None]:
    config = {"log": {"loglevel": "warning"}, "inbounds": [inbound], "outbounds": [outbound]}
    file = folder / f"v2ray-{port}.json"
    file.write_text(json.dumps(config))
    with running([need("v2ray"), "-config", file], folder / f"v2ray-{port}.log", port):
        yield


@contextmanager
def _trojan(folder: Path, port: int, kind: str, remote: int, tls: dict[str, Any]) -> Iterator[None]:
    config = {
        "run_type": kind,
        "local_addr": HOST,
        "local_port": port,
        "remote_addr": HOST,
        "remote_port": remote,
        "password": ["correct horse"],
        "log_level": 1,
        "ssl": {
            "key_password": "",
            "cipher": "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
            "cipher_tls13": "TLS_AES_128_GCM_SHA256",
            "prefer_server_cipher": True,
            "reuse_session": True,
            "session_ticket": False,
            "session_timeout": 600,
            "alpn_port_override": {},
            "plain_http_response": "",
            "curves": "",
            "dhparam": "",
            **tls,
        },
        "tcp": {
            "prefer_ipv4": False,
            "no_delay": True,
            "keep_alive": True,
            "reuse_port": False,
            "fast_open": False,
            "fast_open_qlen": 20,
        },
        "mysql": {"enabled": False},
    }
    file = folder / f"trojan-{port}.json"
    file.write_text(json.dumps(config))
    with running([need("trojan"), "-c", str(file)], folder / f"trojan-{port}.log", port):
        yield
