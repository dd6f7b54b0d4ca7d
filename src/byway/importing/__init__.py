"""Converts configs and subscriptions of other programs.

Comes in: Clash or mihomo YAML, sing-box JSON, links, base64 subscriptions, SIP008. Goes out: a
config that `byway check` finds sound, and a note for everything that could not be kept. On config
time, for `byway import` alone.
"""

from byway.importing.draft import Imported, LeftOut, Note
from byway.importing.reading import MOST_BYTES, import_text
from byway.importing.telling import grouped, missing_most

__all__ = ["MOST_BYTES", "Imported", "LeftOut", "Note", "grouped", "import_text", "missing_most"]
