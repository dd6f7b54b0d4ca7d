"""The trojan pairs: with TLS sessions taken up again, and with a full handshake each time."""

from __future__ import annotations

from measure import pairs
from measure.processes import Process
from measure.programs import Program, Start
from measure.site import FAR_ADDRESS, PORTS, TARGET, Site

RESUMED, FULL = "resumption", "full handshake"
NOTE = (
    f"By `{RESUMED}` the client may take up an earlier TLS session, by `{FULL}` it never does;"
    " sing-box has the latter alone and is compared with in both. The floor's cipher is"
    " AES-128-GCM, the fastest that a pair can choose."
)

_IDLE = 3000
_CPS = ("cps",)


def _byway(resume: bool) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        chain, key = pairs.certificate(site)
        door = {
            "type": "trojan",
            "users": [{"name": "ann", "password": pairs.PASSWORD}],
            "tls": {"cert": chain, "key": key},
            "fallback": TARGET,
        }
        tls = {"sni": pairs.SERVER_NAME, "ca": chain, "resume": resume}
        way = {"type": "trojan", "password": pairs.PASSWORD, "tls": tls}
        name = "trojan" if resume else "trojan-full"
        return pairs.byway(site, name, executable, port, door, way)

    return start


def _sing_box(site: Site, executable: str, port: int) -> list[Process]:
    chain, key = pairs.certificate(site)
    door = {
        "type": "trojan",
        "users": [{"name": "ann", "password": pairs.PASSWORD}],
        "tls": {"enabled": True, "certificate_path": chain, "key_path": key},
    }
    tls = {"enabled": True, "server_name": pairs.SERVER_NAME, "certificate_path": chain}
    way = {"type": "trojan", "password": pairs.PASSWORD, "tls": tls}
    return pairs.sing_box(site, "trojan", executable, port, door, way)


def _trojan(resume: bool) -> Start:
    def start(site: Site, executable: str, port: int) -> list[Process]:
        chain, key = pairs.certificate(site)
        # 3 is errors; it wants each of these keys to be there.
        both = {"password": [pairs.PASSWORD], "log_level": 3}
        tcp = {"no_delay": True, "keep_alive": True, "reuse_port": False, "fast_open": False}
        tls = {
            "alpn": ["http/1.1"],
            "cipher": "",
            "cipher_tls13": "",
            "curves": "",
            "reuse_session": resume,
            "session_ticket": resume,
        }
        host, _, target = TARGET.partition(":")
        server = {
            **both,
            "run_type": "server",
            "local_addr": FAR_ADDRESS,
            "local_port": port,
            "remote_addr": host,
            "remote_port": int(target),
            "ssl": {
                **tls,
                "cert": chain,
                "key": key,
                "key_password": "",
                "prefer_server_cipher": True,
                "session_timeout": 600,
                "plain_http_response": "",
                "dhparam": "",
            },
            "tcp": {**tcp, "prefer_ipv4": True, "fast_open_qlen": 20},
        }
        client = {
            **both,
            "run_type": "client",
            "local_addr": "127.0.0.1",
            "local_port": port,
            "remote_addr": FAR_ADDRESS,
            "remote_port": port,
            "ssl": {
                **tls,
                "cert": chain,
                "verify": True,
                "verify_hostname": True,
                "sni": pairs.SERVER_NAME,
            },
            "tcp": {**tcp, "fast_open_qlen": 20},
        }
        name = "trojan" if resume else "trojan-full"
        return pairs.start_twice(site, f"{name}-peer", [executable, "-c"], server, client)

    return start


def _pair(
    name: str,
    start: Start,
    place: int,
    variant: str,
    *,
    tests: tuple[str, ...] = (),
    package: str | None = None,
    version: tuple[str, ...] = ("--version",),
) -> Program:
    return Program(
        name,
        name,
        start,
        {"socks5": PORTS.start + place},
        variant=variant,
        packets=True,
        idle_flows=_IDLE,
        tests=tests,
        weighed=not tests,
        pair=True,
        package=package,
        version=version,
    )


PROGRAMS: tuple[Program, ...] = (
    pairs.floor("aes-128-gcm", PORTS.start, variant=RESUMED),
    _pair("byway", _byway(resume=True), 1, RESUMED),
    _pair("byway", _byway(resume=False), 2, FULL, tests=_CPS),
    _pair("sing-box", _sing_box, 3, FULL, version=("version",)),
    _pair("trojan", _trojan(resume=True), 4, RESUMED, package="trojan"),
    _pair("trojan", _trojan(resume=False), 5, FULL, tests=_CPS, package="trojan"),
)
