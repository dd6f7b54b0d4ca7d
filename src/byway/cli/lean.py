"""Leaves out optional parts of imports that a long-running Byway does not need.

Of 44 MB, five are OpenSSL's and one and a half the search for plugins that are not installed.
Only the command leaves them out; a program with a Byway inside imports as usual.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

UNUSED = ("ssl", "_hashlib")
"""asyncio has TLS of its own if there is ssl (ours is the engine's); hashlib has hashes of its own
(which suffice for passwords and keys) if there is no OpenSSL."""


def lean() -> None:
    """Import asyncio and the hashes without OpenSSL, unless it is imported already.

    A later import of ssl works as usual. Call it before the first import of asyncio.
    """
    modules = cast("dict[str, object]", sys.modules)
    hidden = [name for name in UNUSED if name not in modules]
    for name in hidden:
        modules[name] = None  # which makes an import of it fail
    try:
        import asyncio  # noqa: F401
        import hashlib  # noqa: F401
        import hmac  # noqa: F401
    finally:
        for name in hidden:
            del modules[name]
    # pydantic looks through every installed package for plugins before it builds its first model.
    loader = ModuleType("pydantic.plugin._loader")
    loader.get_plugins = tuple  # type: ignore[attr-defined]
    modules.setdefault(loader.__name__, loader)
