"""The world by MaxMind DB files (.mmdb): countries, and autonomous systems.

A file is read into memory whole: overwriting it in place cannot harm a running Byway.
Records of several makers are understood: those of MaxMind and DB-IP, of IPinfo, and the bare codes
of sing-geoip and Meta's. Answers are remembered, bounded.
"""

from __future__ import annotations

import os
import re
import stat
from functools import lru_cache
from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maxminddb.reader import Reader

MOST_BYTES = 512 * 1024 * 1024
REMEMBERED = 4096  # addresses
_LOOKED_AT = 256  # records that show of what kind a file is
_CODE = re.compile(r"[A-Za-z]{2}")
_NUMBER = re.compile(r"(?:AS)?([0-9]{1,10})", re.IGNORECASE)


class GeoError(Exception):
    """A file cannot be used; the text says why."""


class Geo:
    """One file: `country` and `system` of an address, in 4 or 16 bytes."""

    __slots__ = ("_reader", "country", "stamp", "system")

    def __init__(self, path: str) -> None:
        """Read a file. Raises GeoError."""
        self._reader, self.stamp = _read(path)
        self.country = lru_cache(REMEMBERED)(self._country)
        self.system = lru_cache(REMEMBERED)(self._system)

    @property
    def kind(self) -> str:
        """The type that its maker gave it."""
        return self._reader.metadata().database_type[:80]

    def has_countries(self) -> bool:
        """Whether its records tell a country."""
        return any(country_of(record) for record in self._some())

    def has_systems(self) -> bool:
        """Whether its records tell an autonomous system."""
        return any(system_of(record) for record in self._some())

    def _country(self, packed: bytes) -> str:
        return country_of(self._record(packed))

    def _system(self, packed: bytes) -> int:
        return system_of(self._record(packed))

    def _record(self, packed: bytes) -> object:
        from maxminddb.errors import InvalidDatabaseError

        if len(packed) == 16 and self._reader.metadata().ip_version == 4:
            return None
        try:
            return self._reader.get(ip_address(packed))
        except (InvalidDatabaseError, ValueError, TypeError, KeyError, RecursionError):
            return None  # the file is damaged in this place

    def _some(self) -> list[object]:
        """The first records. Raises GeoError."""
        from maxminddb.errors import InvalidDatabaseError

        try:
            return [record for _, record in islice(iter(self._reader), _LOOKED_AT)]
        except (InvalidDatabaseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise GeoError(f"is damaged: {error}") from None


def country_of(record: object) -> str:
    """The country of a record: the address's, else the registered one."""
    if isinstance(record, list):
        record = record[0] if record else None
    if isinstance(record, str):
        return record.upper() if _CODE.fullmatch(record) else ""
    if not isinstance(record, dict):
        return ""
    for key in ("country", "registered_country"):
        part = record.get(key)
        code = part.get("iso_code") if isinstance(part, dict) else part
        if isinstance(code, str) and _CODE.fullmatch(code):
            return code.upper()
    code = record.get("country_code")
    return code.upper() if isinstance(code, str) and _CODE.fullmatch(code) else ""


def system_of(record: object) -> int:
    """The autonomous system that a record tells, 0 for none."""
    if not isinstance(record, dict):
        return 0
    for key in ("autonomous_system_number", "asn"):
        number = record.get(key)
        if isinstance(number, int) and not isinstance(number, bool):
            return number
        if isinstance(number, str) and (found := _NUMBER.fullmatch(number)):
            return int(found[1])
    return 0


def _read(path: str) -> tuple[Reader, tuple[int, int]]:
    from maxminddb.const import MODE_FD
    from maxminddb.errors import InvalidDatabaseError
    from maxminddb.reader import Reader

    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise GeoError("is not a file")
            if status.st_size > MOST_BYTES:
                raise GeoError(f"is larger than {MOST_BYTES} bytes")
            return Reader(file, MODE_FD), (status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise GeoError(f"cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (InvalidDatabaseError, ValueError, TypeError, KeyError, RecursionError):
        raise GeoError("is not a MaxMind DB file (.mmdb), or a damaged one") from None
