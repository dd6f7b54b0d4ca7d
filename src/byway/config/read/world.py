"""Opening the files that know countries and networks, as `geo` names them."""

from __future__ import annotations

from byway.config.model import Geo
from byway.facts import geo
from byway.rules.geo import World
from byway.values.problems import Problems

_HINT = "a file of the kind GeoLite2-%s.mmdb"
_MAKERS_WORD = {"country": "Country", "asn": "ASN"}


def open_world(section: Geo, problems: Problems) -> tuple[World, dict[str, tuple[int, int]]]:
    """What the files know, and a stamp of each by which a changed one is told. Notes problems."""
    opened: dict[str, geo.Geo] = {}
    countries = systems = None
    stamps: dict[str, tuple[int, int]] = {}
    for key in ("country", "asn"):
        path = getattr(section, key)
        if path is None:
            continue
        try:
            file = opened[path] = opened.get(path) or geo.Geo(path)
            fits = file.has_countries() if key == "country" else file.has_systems()
        except geo.GeoError as error:
            problems.add(("geo", key), str(error), _HINT % _MAKERS_WORD[key])
            continue
        if not fits:
            what = "countries" if key == "country" else "autonomous systems"
            message = f"holds no {what}; it is of the kind {file.kind!r}"
            problems.add(("geo", key), message, _HINT % _MAKERS_WORD[key])
            continue
        stamps[key] = file.stamp
        if key == "country":
            countries = file
        else:
            systems = file
    return World(countries, systems), stamps
