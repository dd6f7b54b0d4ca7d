"""Fuzz the config: whatever the file holds, it is a config or a ConfigError with places.

Run by `make fuzz`. Half of the inputs are texts of their own; the others are pushed into the sound
and unsound examples of the tests, so that the later checks are reached.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

# not in the development extras: `make fuzz` installs it
atheris = importlib.import_module("atheris")

with atheris.instrument_imports(include=["byway.config", "byway.rules"]):
    from byway.config import judge_of, load_text, read_link, write_link
    from byway.errors import ConfigError
    from byway.flow import Flow, Network, Target
    from byway.values.wrong import Wrong

MISTAKES = (Path(__file__).parents[1] / "config" / "mistakes.yaml").read_text(encoding="utf-8")
SOUND = """
log: {level: info, file: a.log}
limits: {idle: 5m, flows: auto}
inbounds:
  a: {type: mixed, listen: ["127.0.0.1:1", "[::1]:1", unix:/x], users: [{name: u, password: p}]}
  b: {type: forward, listen: 127.0.0.1:2, target: "h:1", network: [tcp, udp]}
outbounds:
  c: {type: socks, server: "h:1", username: u, password: p, via: d}
  d: http://u:p@h
rules:
  - {domain: a.b, domain_suffix: [c, d.e], ip: 10.0.0.0/8, port: [1, 2-3], to: c}
  - {inbound: a, user: u, source: "fd00::/8", network: udp, to: "socks5://u:p@h#n"}
  - otherwise: reject
"""
FLOW = Flow(1, Network.TCP, "a", Target.parse("127.0.0.1:1"), Target.parse("x.d.e:2"), "u")


def one(data: bytes) -> None:
    """Try one input."""
    given = atheris.FuzzedDataProvider(data)
    kind = given.ConsumeIntInRange(0, 3)
    if kind == 0:
        link(given.ConsumeUnicodeNoSurrogates(200))
        return
    text = given.ConsumeUnicodeNoSurrogates(400)
    if kind > 1:
        example = SOUND if kind == 2 else MISTAKES
        at = given.ConsumeIntInRange(0, len(example))
        until = at + given.ConsumeIntInRange(0, 12)
        text = example[:at] + text + example[until:]
    try:
        config = load_text(text)
    except ConfigError as error:
        problems = error.problems
        if not problems or any(problem.line < 1 for problem in problems):
            raise AssertionError("an error without its place") from error
        return
    judge_of(config).decide(FLOW)


def link(text: str) -> None:
    """A link is read or refused; what was read with a model behind it is written again."""
    try:
        read = read_link(text)
    except Wrong:
        return
    try:
        config = load_text(f"rules: [otherwise: {json.dumps(text)}]")
    except ConfigError:
        return
    for outbound in config.outbounds.values():
        if outbound.type != "direct":
            read_link(write_link(outbound))
    if not read.name:
        raise AssertionError("a link without a name")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
