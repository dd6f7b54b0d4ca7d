"""Fetching a subscription: one document, directly or by a link, without a running Byway."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from byway.config import from_links
from byway.dns import SystemResolver
from byway.engine import Engine, TlsClient, TlsClientOptions
from byway.importing.reading import MOST_BYTES
from byway.interfaces import Stream
from byway.log import Log
from byway.protocols.web_address import WebAddress
from byway.ways import Ways
from byway.web import fetch


async def fetched(address: WebAddress, links: Sequence[str]) -> bytes:
    """The document, by way of these links in travel order (none: directly).

    Raises what `web.fetch` does, and ConfigError for a bad link.
    """
    config = from_links(links)
    engine, resolver = Engine(1), SystemResolver()
    ways = Ways(config, engine, resolver, Log(lambda line: None))
    try:
        outbounds = ways.outbounds()
        for plugin in ways.dialling:
            await plugin.open()
        way = outbounds[config.rules[-1].way if config.rules else "direct"]

        async def secured(stream: Stream, name: str) -> Stream:
            client = await asyncio.to_thread(TlsClient, TlsClientOptions(name, ("http/1.1",)))
            return await engine.tls_client(stream, client)

        document = await fetch(address, way, secured, MOST_BYTES)
        assert document is not None  # nothing was known of it
        return document.body
    finally:
        for plugin in ways.plugins:
            await plugin.close()
        await engine.close()
        resolver.close()
