"""The act of the demo in which every program's traffic goes by Byway, with no setting in any."""

from __future__ import annotations

import base64
import os
import re
import shutil

from byway.lab.process import Process
from byway.lab.space import environment
from byway.lab.stage import ADS, BYWAY, FREE, RESET, WALLED, Stage

METHOD = "2022-blake3-aes-128-gcm"
PORT = 8389
CURL = ["curl", "-sS", "-m", "10"]
REFUSED = {7, 35, 52, 56}  # curl(1), EXIT CODES: no connection, TLS, empty reply, reset
CONFIG = """\
inbounds:
  everything: {type: tproxy, auto: true}      # the firewall brings all that this host sends
outbounds:
  vps: {type: shadowsocks, server: "SERVER", method: METHOD, password: "KEY"}
rules:
  - {sniffed: {domain_suffix: ads.example}, to: reject}
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
    byway = _started(stage)
    during = _host(stage)
    tell.say("", "From now on no program needs a setting. The three walled-off sites:")
    stage.wall.reset(RESET, ports=())
    urls = [f"{scheme}://{name}/" for name in WALLED for scheme in ("http", "https")]
    done = stage.run([*CURL, *urls])
    pages = sum(done.stdout.count(f"You have reached {name}.") for name in WALLED)
    seen = f"{pages} pages" + (f", exit {done.returncode}" if done.returncode else "")
    tell.check("all traffic: six walled-off pages", "6 pages", seen, pages == 6)
    stage.wall.reset(RESET)

    tell.say("", "An ad server is refused, by the name in the request:")
    done = stage.run([*CURL, f"https://{ADS}/"])
    seen = "refused" if done.returncode in REFUSED else f"exit {done.returncode}"
    tell.check(f"all traffic: {ADS}", "refused", seen, done.returncode in REFUSED)

    tell.say("", "The printer at home is reached directly, by the kernel alone:")
    done = stage.run([*CURL, f"http://{stage.printer.address4}/"])
    page = "You have reached printer." in done.stdout
    past = not re.search(rf"target={re.escape(stage.printer.address4)}\b", byway.output())
    seen = "the page, past Byway" if page and past else f"exit {done.returncode}"
    tell.check("all traffic: the printer", "the page, past Byway", seen, page and past)

    tell.say("", "And ping works where the wall lets it:")
    ping = ["ping", "-n", "-q", "-c", "1", "-W", "2", stage.sites[FREE].address4]
    done = stage.run(ping)
    seen = "an answer" if done.returncode == 0 else f"exit {done.returncode}"
    tell.check(f"all traffic: ping {FREE}", "an answer", seen, done.returncode == 0)

    tell.say("", "Byway ends, and the laptop is as it was: its links, routes, rules and firewall.")
    byway.stop(10)
    after = _host(stage)
    same = after == before != during
    tell.output("no difference" if same else after)
    seen = "as before" if same else "changed"
    tell.check("all traffic: the host afterwards", "as before", seen, same)


def _started(stage: Stage) -> Process:
    """Byway on the VPS and on the laptop, once the laptop's firewall is set up."""
    key = base64.b64encode(os.urandom(16)).decode()
    listening = f"listen: 0.0.0.0:{PORT}, method: {METHOD}, password: {key}"
    far = f"inbounds:\n  far: {{type: shadowsocks, {listening}}}\n"
    stage.start_byway(stage.vps, far, name="far", port=PORT)
    config = CONFIG.replace("METHOD", METHOD)
    stage.tell.say("The laptop's Byway now takes all that the laptop sends:")
    stage.tell.show(config.replace("SERVER", f"{stage.vps.address4}:{PORT}"))
    file = stage.laptop.space.directory / "everything.yaml"
    file.write_text(config.replace("SERVER", f"{stage.vps.address4}:{PORT}").replace("KEY", key))
    file.chmod(0o600)
    return stage.laptop.start([*BYWAY, "run", "-c", str(file)], ready="firewall is set up")


def _host(stage: Stage) -> str:
    """The network of the laptop: links, rules, routes and firewall, without counters and clocks."""
    asked = [["ip", "link"], ["nft", "list", "ruleset"]]
    asked += [["ip", family, *words] for family in ("-4", "-6") for words in _TABLES]
    texts = [stage.laptop.run(argv).stdout for argv in asked]
    return re.sub(r" expires \S+", "", "\n".join(texts))


_TABLES = (["rule"], ["route", "show", "table", "all"])
