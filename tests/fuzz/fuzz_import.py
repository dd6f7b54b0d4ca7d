"""Fuzz the importers: whatever a subscription holds, it is a sound config or a ConfigError.

Run by `make fuzz`. Inputs are texts of their own, or pushed into the examples of the tests.
"""

from __future__ import annotations

import base64
import importlib
import sys
from pathlib import Path

# not in the development extras: `make fuzz` installs it
atheris = importlib.import_module("atheris")

with atheris.instrument_imports(include=["byway.importing", "byway.config.read.links"]):
    from byway.config import load_text
    from byway.errors import ConfigError
    from byway.importing import import_text

FOLDER = Path(__file__).parents[1] / "importing"
EXAMPLES = [(FOLDER / name).read_text(encoding="utf-8") for name in ("clash.yaml", "singbox.json")]
EXAMPLES.append("ss://YWVzLTI1Ni1nY206cA@h:1#a\ntrojan://p@h:1?sni=a#b\nvmess://x\n")


def one(data: bytes) -> None:
    """Try one input."""
    given = atheris.FuzzedDataProvider(data)
    kind = given.ConsumeIntInRange(0, len(EXAMPLES))
    text = given.ConsumeUnicodeNoSurrogates(300)
    if kind < len(EXAMPLES):
        example = EXAMPLES[kind]
        at = given.ConsumeIntInRange(0, len(example))
        text = example[:at] + text + example[at + given.ConsumeIntInRange(0, 30) :]
    written = text.encode()
    if given.ConsumeBool():
        written = base64.b64encode(written)
    try:
        made = import_text(written, "x")
    except ConfigError:
        return
    if load_text(made.text, "x") != made.config:
        raise AssertionError("the text is not the config")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
