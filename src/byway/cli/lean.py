"""What a Byway that runs for months can do without: optional parts of what it imports.

Of 44 MB, five are OpenSSL's and one and a half the search for plugins that nobody has. Only the
command spares them; a program that has a Byway inside imports what it likes.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

UNUSED = ("ssl", "_hashlib")
"""asyncio has TLS of its own if there is ssl (ours is the engine's); hashlib has hashes of its own
(which suffice for passwords and keys) if there is no OpenSSL."""


def lean() -> None:
    """Import asyncio and the hashes without OpenSSL, where nobody has imported it before.

    Whoever imports ssl later has it, as ever. Call it before the first import of asyncio.
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
