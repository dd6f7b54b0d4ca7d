"""Large sets of names and prefixes, kept and searched in Rust: tens of bytes for an entry."""

from __future__ import annotations

import os
from collections.abc import Sequence

from byway._engine import SetLists, dat_codes, dat_names, dat_prefixes, trie_lines

__all__ = ["FORMS", "EngineLists", "dat_codes", "dat_names", "dat_prefixes", "trie_lines"]

FORMS = ("lines", "clash", "hosts", "adblock", "dnsmasq", "unpacked")


class EngineLists:
    """One list: its names, its prefixes, and the lines that somebody else has to read.

    A look-up is one call of about a microsecond; many threads may ask at once.
    """

    __slots__ = ("_lists", "has_address", "has_literal", "has_name")

    def __init__(self, lists: SetLists) -> None:
        self._lists = lists
        # Taken over as they are, since a method around each would cost as much again.
        self.has_name = lists.has_name
        self.has_address = lists.has_address
        self.has_literal = lists.has_literal

    @classmethod
    def read(cls, data: bytes, form: str) -> EngineLists:
        """Read a list in one of `FORMS`. Never fails, and lets other threads run meanwhile."""
        return cls(SetLists.read(data, form))

    @classmethod
    def load(cls, path: str | os.PathLike[str], stamp: bytes) -> EngineLists | None:
        """What was saved with this stamp (32 bytes); None without such a file, or a damaged one."""
        found = SetLists.load(path, stamp)
        return None if found is None else cls(found)

    def save(self, path: str | os.PathLike[str], stamp: bytes) -> None:
        """Write the cache file, whole or not at all. Raises OSError."""
        self._lists.save(path, stamp)

    def name_place(self, name: str) -> tuple[int, str] | None:
        """The line and the text of the entry nearest to a name that takes it."""
        return self._lists.name_place(name)

    def address_place(self, packed: bytes, literal: bool) -> tuple[int, str] | None:
        """The line and the text of the widest prefix that a packed address is in."""
        return self._lists.address_place(packed, literal)

    @property
    def rest(self) -> Sequence[tuple[int, str]]:
        """The lines that are neither plainly a name nor plainly a prefix, with their numbers."""
        return self._lists.rest()

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """The numbers of names, prefixes and literal prefixes, and the bytes that all take."""
        return self._lists.sizes()
