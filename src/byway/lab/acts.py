"""The acts of the demo, in order. To add one, write a function and put it into ACTS."""

from __future__ import annotations

import base64
import shutil
import socket
from collections.abc import Callable

from byway.lab import encrypted, everything
from byway.lab.space import environment
from byway.lab.stage import (
    CONFIG,
    DROPPED,
    FORGED,
    FREE,
    HOME,
    PASSWORD,
    PORT,
    RESET,
    USER,
    WALLED,
    Stage,
)
from byway.lab.wall import NOWHERE

CURL = ["curl", "-sS"]
TIMED_OUT, NO_CONNECTION, TLS_FAILED, RECEIVE_FAILED = 28, 7, 35, 56  # curl(1), EXIT CODES


def behind_the_wall(stage: Stage) -> None:
    """The laptop meets the wall in each of its three ways."""
    tell = stage.tell
    tell.say("First a site that the wall does not mind.")
    done = stage.run([*CURL, f"https://{FREE}/"])
    seen = _reached(done.stdout) or f"exit {done.returncode}"
    tell.check(f"direct: {FREE}", "the page", seen, seen == FREE)

    tell.say("", "Now three that it does. One by address: its packets vanish.")
    done = stage.run([*CURL, "-m", "2", f"https://{DROPPED}/"])
    _expect_failure(stage, f"direct: {DROPPED}", "no answer", done.returncode, {TIMED_OUT})

    tell.say("", "One by name, in DNS: a forged answer overtakes the true one.")
    _look_up(stage)
    done = stage.run([*CURL, "-m", "3", f"https://{FORGED}/"])
    failures = {NO_CONNECTION, TIMED_OUT}
    _expect_failure(stage, f"direct: {FORGED}", "nobody there", done.returncode, failures)

    tell.say("", "One by name, in the first bytes of the connection: resets to both ends.")
    for scheme, code in (("https", TLS_FAILED), ("http", RECEIVE_FAILED)):
        done = stage.run([*CURL, "-m", "5", f"{scheme}://{RESET}/"])
        expected = {code, RECEIVE_FAILED}
        _expect_failure(stage, f"direct: {scheme}://{RESET}", "reset", done.returncode, expected)


def by_way_of_the_vps(stage: Stage) -> None:
    """A Byway outside the wall fetches what the laptop cannot."""
    tell = stage.tell
    tell.say("On the VPS, `byway run -c byway.yaml`, where nothing is walled off:")
    tell.show(CONFIG)
    byway = stage.start_byway(stage.vps, CONFIG)
    stage.wall.forget()
    plain = [f"http://{name}/" for name in WALLED]
    secure = [f"https://{name}/" for name in WALLED]
    ways: list[tuple[str, list[str], dict[str, str]]] = [
        ("curl -x http://", [*CURL, "-m", "10", "-x", stage.proxy("http"), *plain], {}),
        ("curl -x socks5h://", [*CURL, "-m", "10", "-x", stage.proxy("socks5h"), *secure], {}),
        (
            "export http_proxy",
            [*CURL, "-m", "10", *plain[:2], secure[2]],
            {"http_proxy": stage.proxy("http"), "https_proxy": stage.proxy("http")},
        ),
    ]
    for what, argv, env in ways:
        done = stage.run(argv, env)
        got = [name for name in WALLED if f"You have reached {name}." in done.stdout]
        seen = f"{len(got)} pages" if len(got) == 3 else f"{len(got)} pages, exit {done.returncode}"
        tell.check(f"by the VPS: {what}", "3 pages", seen, len(got) == 3)
    tell.say("", "What Byway on the VPS wrote down:")
    tell.show("\n".join(byway.output().splitlines()[-3:]))


def what_the_wall_heard(stage: Stage) -> None:
    """A plain proxy hides nothing: the capture at the wall has it all."""
    tell = stage.tell
    capture = stage.wall.capture()
    tell.say(f"All that passed was heard: {len(capture)} packets since the last act began.")
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    searches = [
        ("the site's name", f"http://{RESET}/".encode()),
        ("the page's text", f"You have reached {FORGED}.".encode()),
        ("the password, by HTTP", b"Basic " + basic),
        ("the password, by SOCKS", _socks_login()),
    ]
    for what, needle in searches:
        packet = capture.find(needle)
        tell.say(f"search for {needle.decode('latin-1')!r}")
        tell.output(str(packet) if packet else "not there")
        tell.check(f"at the wall: {what}", "readable", "readable" if packet else "no", bool(packet))

    tell.say("", "So a wall that looks at every port, not only the web's, stops the proxy as well:")
    stage.wall.reset(RESET, ports=())
    done = stage.run([*CURL, "-m", "5", "-x", stage.proxy("http"), f"http://{RESET}/"])
    failures = {RECEIVE_FAILED, TLS_FAILED}
    _expect_failure(stage, "by the VPS, every port watched", "reset", done.returncode, failures)
    stage.wall.reset(RESET)


def no_ping_by_proxy(stage: Stage) -> None:
    """Ping is packets, a proxy is connections."""
    tell = stage.tell
    site, free = stage.sites[DROPPED].address4, stage.sites[FREE].address4
    ping = ["ping", "-n", "-q", "-c", "1", "-W", "1"]
    if shutil.which("ping", path=environment()["PATH"]) is None:
        tell.skip("ping", "ping is not installed (Debian: iputils-ping)")
    else:
        tell.say("Ping works where the wall lets it, and not where it drops.")
        done = stage.run([*ping, free])
        seen = "an answer" if done.returncode == 0 else f"exit {done.returncode}"
        tell.check(f"ping {FREE}", "an answer", seen, done.returncode == 0)
        done = stage.run([*ping, site])
        seen = "no answer" if done.returncode == 1 else f"exit {done.returncode}"
        tell.check(f"ping {DROPPED}", "no answer", seen, done.returncode == 1)
        tell.say("", "A proxy does not change that: ping asks no proxy, whatever is exported.")
        proxies = {"http_proxy": stage.proxy("http"), "all_proxy": stage.proxy("socks5h")}
        done = stage.run([*ping, site], proxies)
        seen = "no answer" if done.returncode == 1 else f"exit {done.returncode}"
        tell.check("ping with a proxy set", "no answer", seen, done.returncode == 1)
        tell.say("", "Encryption does not, either; this is by the laptop's own Byway:")
        done = stage.run([*ping, site], {"all_proxy": HOME})
        seen = "no answer" if done.returncode == 1 else f"exit {done.returncode}"
        tell.check("ping with an encrypted proxy", "no answer", seen, done.returncode == 1)
    tell.say("", "Nor could it: SOCKS5 can be asked to CONNECT (1), BIND (2) and relay UDP (3).")
    told = stage.laptop.call(ask_socks, stage.vps.address4, PORT, 8, site)
    tell.say("laptop asks the proxy for command 8, with the site's address; it answers:")
    answers = {0: "granted", 7: "command not supported"}  # RFC 1928 section 6
    seen = answers.get(told, f"code {told}")
    tell.output(f"reply {told}: {seen}")
    tell.check("asking a proxy to ping", answers[7], seen, told == 7)
    tell.say("That takes a VPN, which carries packets.")


ACTS: list[tuple[str, Callable[[Stage], None]]] = [
    ("Behind the wall", behind_the_wall),
    ("By way of a proxy on the VPS", by_way_of_the_vps),
    ("What the wall heard", what_the_wall_heard),
    ("Noise: shadowsocks", encrypted.noise),
    ("A web site: trojan", encrypted.web_site),
    ("No ping by proxy", no_ping_by_proxy),
    ("Every program, no setting", everything.everything),
]


def ask_socks(host: str, port: int, command: int, address: str) -> int:
    """Log in at a SOCKS5 proxy and ask for a command. Returns the reply's code (RFC 1928)."""
    with socket.create_connection((host, port), 10) as proxy, proxy.makefile("rwb") as stream:
        stream.write(b"\x05\x01\x02" + _socks_login())
        stream.write(bytes((5, command, 0, 1)) + socket.inet_aton(address) + bytes(2))
        stream.flush()
        method, login = stream.read(2), stream.read(2)
        if method != b"\x05\x02" or login != b"\x01\x00":
            raise ConnectionError(f"the proxy would not let us in: {method!r} {login!r}")
        return stream.read(2)[1]


def _socks_login() -> bytes:
    """User and password as SOCKS5 sends them (RFC 1929 section 2): in the clear."""
    user, password = USER.encode(), PASSWORD.encode()
    return bytes((1, len(user))) + user + bytes((len(password),)) + password


def _look_up(stage: Stage) -> None:
    if shutil.which("dig", path=environment()["PATH"]) is None:
        argv = ["getent", "ahostsv4", FORGED]
    else:
        argv = ["dig", "+short", FORGED]
    done = stage.run(argv)
    seen = done.stdout.split()[0] if done.stdout.split() else "nothing"
    truth = stage.sites[FORGED].address4
    stage.tell.say(f"(Its true address is {truth}.)")
    stage.tell.check(f"looking up {FORGED}", "a lie", f"a lie: {seen}", seen == NOWHERE[0])


def _reached(page: str) -> str:
    return page.partition("You have reached ")[2].partition(".</p>")[0]


def _expect_failure(stage: Stage, what: str, expected: str, code: int, codes: set[int]) -> None:
    seen = expected if code in codes else "the page" if code == 0 else f"exit {code}"
    stage.tell.check(what, expected, seen, code in codes)
