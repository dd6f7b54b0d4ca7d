"""The act of the demo with global mode: a virtual NIC takes every program's traffic."""

from __future__ import annotations

import base64
import os
import re
import shutil

from byway.lab.space import environment
from byway.lab.stage import ADS, FREE, RESET, WALLED, Stage

METHOD = "2022-blake3-aes-128-gcm"
NAME = "everything"
PORT = 8389
CURL = ["curl", "-sS", "-m", "10"]
REFUSED = {7, 35, 52, 56}  # curl(1), EXIT CODES: no connection, TLS, empty reply, reset
CONFIG = """\
inbounds:
  nic: {type: tun, auto_route: true, exclude: "FREE/32"}   # all that this host sends, but to one
dns: {hijack: true, fake_ip: true}                         # so that names, too, go by the VPS
outbounds:
  vps: {type: shadowsocks, server: "SERVER", method: METHOD, password: "KEY"}
rules:
  - {domain_suffix: ads.example, to: reject}
  - otherwise: vps
"""
_TOOLS = (("nft", "nftables"), ("ip", "iproute2"), ("ping", "iputils-ping"))


def everything(stage: Stage) -> None:
    """Plain programs pass the wall; the LAN is reached directly; nothing is left behind."""
    tell = stage.tell
    for tool, package in _TOOLS:
        if shutil.which(tool, path=environment()["PATH"]) is None:
            tell.skip("global mode", f"{tool} is not installed (Debian: {package})")
            return
    if stage.at_home:
        stage.at_home.stop()
    before = _host(stage)
    if not _started(stage):
        return
    during = _host(stage)
    tell.say("", "From now on no program needs a setting. The three walled-off sites:")
    stage.wall.reset(RESET, ports=())
    urls = [f"{scheme}://{name}/" for name in WALLED for scheme in ("http", "https")]
    done = stage.run([*CURL, *urls])
    pages = sum(done.stdout.count(f"You have reached {name}.") for name in WALLED)
    seen = f"{pages} pages" + (f", exit {done.returncode}" if done.returncode else "")
    tell.check("all traffic: six walled-off pages", "6 pages", seen, pages == 6)
    stage.wall.reset(RESET)

    tell.say("", "An ad server is refused, by its name:")
    done = stage.run([*CURL, f"https://{ADS}/"])
    seen = "refused" if done.returncode in REFUSED else f"exit {done.returncode}"
    tell.check(f"all traffic: {ADS}", "refused", seen, done.returncode in REFUSED)

    tell.say("", "The printer at home is reached directly, by the kernel alone:")
    done = stage.run([*CURL, f"http://{stage.printer.address4}/"])
    page = "You have reached printer." in done.stdout
    flows = stage.byway(stage.laptop, NAME, ["flows", "--json"]).stdout
    past = stage.printer.address4 not in flows
    seen = "the page, past Byway" if page and past else f"exit {done.returncode}"
    tell.check("all traffic: the printer", "the page, past Byway", seen, page and past)

    tell.say("", f"And {FREE}, which the config leaves alone, answers a ping:")
    ping = ["ping", "-n", "-q", "-c", "1", "-W", "2", stage.sites[FREE].address4]
    done = stage.run(ping)
    seen = "an answer" if done.returncode == 0 else f"exit {done.returncode}"
    tell.check(f"all traffic: ping {FREE}", "an answer", seen, done.returncode == 0)

    tell.say("", "The end, and the laptop is as it was: its links, routes, rules and firewall.")
    stage.byway(stage.laptop, NAME, ["down"])
    after = _host(stage)
    same = after == before != during
    tell.output("no difference" if same else after)
    seen = "as before" if same else "changed"
    tell.check("all traffic: the host afterwards", "as before", seen, same)


def _started(stage: Stage) -> bool:
    """Byway on the VPS, and on the laptop in the background: whether it runs."""
    tell, key = stage.tell, base64.b64encode(os.urandom(16)).decode()
    listening = f"listen: 0.0.0.0:{PORT}, method: {METHOD}, password: {key}"
    far = f"inbounds:\n  far: {{type: shadowsocks, {listening}}}\n"
    stage.start_byway(stage.vps, far, name="far", port=PORT)
    config = CONFIG.replace("METHOD", METHOD).replace("FREE", stage.sites[FREE].address4)
    config = config.replace("SERVER", f"{stage.vps.address4}:{PORT}")
    tell.say(f"Global mode: the laptop's {NAME}.yaml has a virtual NIC.")
    tell.show(config)
    stage.write(stage.laptop, NAME, config.replace("KEY", key))
    tell.say("What it would change on this host:")
    stage.byway(stage.laptop, NAME, ["up", "--plan"])
    done = stage.byway(stage.laptop, NAME, ["up"])
    seen = "runs" if done.returncode == 0 else f"exit {done.returncode}"
    tell.check("byway up", "runs", seen, done.returncode == 0)
    return done.returncode == 0


def _host(stage: Stage) -> str:
    """The network of the laptop: links, rules, routes and firewall, without counters and clocks."""
    asked = [["ip", "link"], ["nft", "list", "ruleset"]]
    asked += [["ip", family, *words] for family in ("-4", "-6") for words in _TABLES]
    texts = [stage.laptop.run(argv).stdout for argv in asked]
    return re.sub(r" expires \S+", "", "\n".join(texts))


_TABLES = (["rule"], ["route", "show", "table", "all"])
