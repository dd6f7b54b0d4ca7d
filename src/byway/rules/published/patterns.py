"""AdGuard's patterns for names, as sing-box keeps them in its binary lists."""

from __future__ import annotations

import re


def pattern_regex(pattern: str) -> str:
    """AdGuard's pattern for names as a regex: `||` a label's beginning, `|` the name's, `^` its
    end, `*` anything."""
    start = "^" if pattern.startswith("|") else ""
    start = r"(?:^|\.)" if pattern.startswith("||") else start
    body = pattern.lstrip("|")
    end = "$" if body.endswith("^") else ""
    return start + ".*".join(map(re.escape, body.removesuffix("^").split("*"))) + end
