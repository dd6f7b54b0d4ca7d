"""The acts of the demo in which the way to the VPS is encrypted: as noise, and as a web site."""

from __future__ import annotations

import base64
import os

from byway.lab.capture import Capture
from byway.lab.probing import Answer, probe, probe_tls
from byway.lab.stage import FORGED, HOME, RESET, SITE, SITE_PORT, WALLED, Stage

METHOD = "2022-blake3-aes-128-gcm"
NOISE_PORT, WEB_PORT = 8388, 443
PATIENCE = 1.5  # seconds that a prober listens
CURL = ["curl", "-sS", "-m", "10"]


def noise(stage: Stage) -> None:
    """Shadowsocks: what passes the wall looks like nothing at all."""
    tell = stage.tell
    key = base64.b64encode(os.urandom(16)).decode()
    listening = f"listen: 0.0.0.0:{NOISE_PORT}"
    config = f"""\
inbounds:
  noise: {{type: shadowsocks, {listening}, method: {METHOD}, password: {key}}}
"""
    tell.say("A second Byway on the VPS. It has never heard of HTTP:")
    tell.show(config)
    stage.start_byway(stage.vps, config, name="noise", port=NOISE_PORT)
    _fetch(stage, "noise", "shadowsocks")
    capture = stage.wall.capture()
    _search(stage, capture, "shadowsocks", key.encode())

    tell.say("", "So the wall knocks itself: it repeats the first packet of the laptop's that it")
    tell.say("recorded, and sends as much random garbage on another connection.")
    first = _first(capture, NOISE_PORT)
    openings = [first, os.urandom(len(first))]
    answers = stage.wall.call(probe, stage.vps.address4, NOISE_PORT, openings, PATIENCE)
    replayed, garbage = (_described(answer) for answer in answers)
    tell.output(f"the laptop's packet again: {replayed}\nrandom garbage: {garbage}")
    same = bool(first) and replayed == garbage and not answers[0][0]
    tell.check("probing shadowsocks: a replay", f"as garbage: {garbage}", replayed, same)


def web_site(stage: Stage) -> None:
    """Trojan: what passes the wall looks like visits to a web site, and there is one."""
    tell = stage.tell
    pem = stage.lab.authority.issue([SITE], [])
    password = base64.urlsafe_b64encode(os.urandom(18)).decode()
    config = f"""\
inbounds:
  site:
    type: trojan
    listen: 0.0.0.0:{WEB_PORT}
    users: [{{name: ann, password: "{password}"}}]
    tls: {{cert: {pem}, key: {pem}, alpn: http/1.1}}
    fallback: 127.0.0.1:{SITE_PORT}
"""
    tell.say(f"The VPS is also {SITE}, a small web site. Byway steps in front of it:")
    tell.show(config.replace(str(pem), f"{SITE}.pem"))
    stage.start_byway(stage.vps, config, name="site", port=WEB_PORT)
    _fetch(stage, "site", "trojan", host=SITE)
    capture = stage.wall.capture()
    _search(stage, capture, "trojan", password.encode())
    hello = _first(capture, WEB_PORT)
    seen = SITE if SITE.encode() in hello else "something else"
    tell.check("at the wall: trojan, who is visited", SITE, seen, seen == SITE)

    tell.say("", "The wall looks who lives there, as a browser does, and with no TLS at all:")
    for url in (f"https://{SITE}/", f"http://{SITE}:{WEB_PORT}/"):
        done = stage.run([*CURL, url], host=stage.wall)
        page = f"You have reached {SITE}." in done.stdout
        seen = "the web site" if page else f"exit {done.returncode}"
        tell.check(f"probing trojan: {url.partition(':')[0]}", "the web site", seen, page)
    _strangers(stage, hello)


def _strangers(stage: Stage, hello: bytes) -> None:
    """Who repeats what was recorded, or guesses a password, gets what any web server gives."""
    tell, vps = stage.tell, stage.vps
    tell.say("", "It repeats the laptop's first packet, and guesses a password:")
    (replayed,) = stage.wall.call(probe, vps.address4, WEB_PORT, [hello], PATIENCE)
    # A TLS record of a handshake (RFC 8446 section 5.1), with keys that only the laptop had.
    greets = replayed[0][:2] == b"\x16\x03"
    seen = "a TLS hello" if greets else _described(replayed)
    tell.output(f"the laptop's packet again: {len(replayed[0])} bytes, {seen}")
    tell.check("probing trojan: a replay", "a TLS hello", seen, greets)
    guess = b"0" * 56 + b"\r\n\x01\x03\x0bexample.com\x00\x50\r\nGET / HTTP/1.1\r\n\r\n"
    theirs = stage.wall.call(probe_tls, vps.address4, WEB_PORT, SITE, guess, PATIENCE)
    (own,) = vps.call(probe, "127.0.0.1", SITE_PORT, [guess], PATIENCE)
    tell.output(f"a wrong password: {_described(theirs)}")
    tell.output(f"the same, said to the web server itself: {_described(own)}")
    expected = f"as the site: {_described(own)}"
    tell.check("probing trojan: a guess", expected, _described(theirs), theirs == own)


def _fetch(stage: Stage, inbound: str, protocol: str, host: str = "") -> None:
    """Start the laptop's Byway with the link of the VPS's inbound, and fetch what is walled off."""
    tell = stage.tell
    tell.say("It tells what the other side needs:")
    words = ["link", inbound, "--host", host or stage.vps.address4]
    link = stage.byway(stage.vps, inbound, words).stdout.strip()
    tell.say("", "And the laptop asks for no more than that:")
    tell.command("laptop", ["byway", "run", link])
    stage.start_at_home(link)
    tell.say("", f"Now the wall looks for {RESET} on every port. And yet:")
    stage.wall.reset(RESET, ports=())
    stage.wall.forget()
    urls = [f"{scheme}://{name}/" for name in WALLED for scheme in ("http", "https")]
    done = stage.run([*CURL, "-x", HOME, *urls])
    pages = sum(done.stdout.count(f"You have reached {name}.") for name in WALLED)
    seen = f"{pages} pages" + (f", exit {done.returncode}" if done.returncode else "")
    tell.check(f"by {protocol}: six walled-off pages", "6 pages", seen, pages == 6)
    stage.wall.reset(RESET)


def _search(stage: Stage, capture: Capture, protocol: str, secret: bytes) -> None:
    """Look for everything that a plain proxy gave away."""
    tell = stage.tell
    tell.say("", f"What the wall heard of it, {len(capture)} packets, is searched for:")
    labels = [name.partition(".")[0].encode() for name in WALLED]
    searches = [
        ("any of the names", labels),
        ("the page's text", [f"reached {FORGED}".encode(), b"<!doctype html>"]),
        ("the password", [secret]),
    ]
    for what, needles in searches:
        packet = next(filter(None, (capture.find(needle) for needle in needles)), None)
        text = ", ".join(repr(needle.decode("latin-1")) for needle in needles)
        tell.output(f"{text if needles != [secret] else what}: {packet or 'not there'}")
        seen = "readable" if packet else "not there"
        tell.check(f"at the wall: {protocol}, {what}", "not there", seen, packet is None)


def _first(capture: Capture, port: int) -> bytes:
    """What the first packet to this port that says anything says; nothing if none does."""
    return next((packet.payload for packet in capture.to(port) if packet.payload), b"")


def _described(answer: Answer) -> str:
    heard, end = answer
    return f"{len(heard)} bytes, then {end}" if heard else end
