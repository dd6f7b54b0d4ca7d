"""Which Byway this is."""

from __future__ import annotations


def version() -> str:
    """The installed version; "unknown" when run from a tree that was never installed."""
    from importlib import metadata  # a megabyte, only when asked

    try:
        return metadata.version("byway")
    except metadata.PackageNotFoundError:
        return "unknown"
