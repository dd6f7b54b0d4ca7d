"""Byway carries a machine's traffic by way of somewhere else: a proxy, a VPN, a global mode.

Read `router.py` first: it is the road. `interfaces.py` is one screen of nouns. An `App` is a value:
a Python program can build one from a config and run it, and several can live in one process. What
rules in Python are written with is to be had from here: `byway.rule`, `byway.Flow`, ...
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byway.scripting import Drop, Flow, Reject, Verdict, Via, rule

__all__ = ["Drop", "Flow", "Reject", "Verdict", "Via", "rule"]


def __getattr__(name: str) -> object:
    """Loaded when first asked for: a start pays for it only with such a rule."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from byway import scripting

    return getattr(scripting, name)
