"""The state of the resolver, as plain data."""

from __future__ import annotations

from collections.abc import Sequence

from byway.app import App

View = dict[str, object]


def names_view(app: App) -> View:
    """The servers and what is remembered of them; nothing of either without `dns`."""
    names = app.names
    cache: View | None = None
    if names.answers is not None and app.now.config.dns is not None:
        count, size = names.answers.sizes
        hits, misses = names.answers.counts
        most = app.now.config.dns.cache.size
        cache = {"answers": count, "most": most, "bytes": size, "hits": hits, "misses": misses}
    return {
        "servers": [
            {
                "name": server.name,
                "address": server.place,
                "via": server.via,
                "asked": server.asked,
                "failed": server.failed,
                "delay": round(server.delay, 4),
                "connections": server.connections,
                "failing": server.is_failing,
                "error": server.error or None,
            }
            for server in names.servers
        ],
        "cache": cache,
    }


def failing(app: App) -> Sequence[View]:
    """The servers that do not answer, for what is degraded."""
    return [
        {"what": f"name server {server.name}", "why": server.error}
        for server in app.names.servers
        if server.is_failing
    ]
