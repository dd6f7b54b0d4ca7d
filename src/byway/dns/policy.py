"""What rules about names say: servers to ask, or an answer of their own. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from byway.flow import frozen

Word = Literal["refuse", "empty", "nxdomain", "servfail", "drop", "real", "fake"]
"""`refuse`, `nxdomain` and `servfail` are codes of DNS, `empty` says that there are no such
records, `drop` nothing; `real` asks the servers and `fake` does not, whatever `fake_ip` says."""

CODES = {"refuse": 5, "empty": 0, "nxdomain": 3, "servfail": 2}


@frozen
class Given:
    """An answer that a rule gives: a word, or addresses."""

    word: Word | None = None
    addresses: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """What a rule said: whom to ask (a key of `Plan.choices`), and what is given in their place."""

    use: str
    given: Given | None = None
