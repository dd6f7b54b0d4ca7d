"""Rules of other programs that ask for a list in a geosite file: a set for each such list."""

from __future__ import annotations

import re
from pathlib import Path

from byway.importing.draft import OTHERWISE, Draft, Section

MIHOMO = "https://github.com/MetaCubeX/meta-rules-dat/releases/download/latest/geosite.dat"
"""Where mihomo fetches the file that it has none of."""
COMMUNITY = "https://github.com/v2fly/domain-list-community/releases/latest/download/dlc.dat"
"""The lists that sing-box's own file was made of."""
FILES = ("GeoSite.dat", "geosite.dat")
"""The names that programs give the file, beside their config."""


def condition(written: str, url: str, line: int, draft: Draft) -> Section | None:
    """The condition that a name is in a list; `!` in front turns it round. None: no list has this
    name. The file is the one beside the config, else what `url` has."""
    code = written.strip().lower().removeprefix("!").removesuffix("@")
    if not re.fullmatch(r"[a-z0-9_!.-]+(@[a-z0-9!_-]+)*", code):
        return None
    key = f"geosite:{code}"
    if key not in draft.sets:
        content: Section = {"format": "geosite", "list": code}
        folder = Path(draft.folder or ".")
        there = [folder / name for name in FILES if draft.folder and (folder / name).is_file()]
        if there:
            content["path"] = str(there[0])
        else:
            content |= {"url": url, "via": OTHERWISE}
        draft.set(key, line, content)
    asked: Section = {"set": draft.set_asked(key)}
    return {"not": asked} if written.strip().startswith("!") else asked
