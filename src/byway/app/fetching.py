"""Fetching a subscription: one document, directly or by a link, without a running Byway."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from byway.app.naming import Naming, Resolving
from byway.app.ways import Ways
from byway.config import from_links
from byway.engine import Engine, TlsClient, TlsClientOptions
from byway.importing.reading import MOST_BYTES
from byway.interfaces import InForce, Stream
from byway.ledger.log import Log, Writing
from byway.outbounds.own import Own
from byway.outbounds.web import AGENT, fetch
from byway.protocols.web_address import WebAddress


async def fetched(address: WebAddress, links: Sequence[str], agent: str | None = None) -> bytes:
    """The document, by way of these links in travel order (none: directly). `agent` is what the
    server is told that asks.

    Raises what `web.fetch` does, ValueError for an agent that no head can carry, and ConfigError
    for a bad link.
    """
    agent = AGENT if agent is None else agent
    if not re.fullmatch(r"[!-~](?:[ -~]{0,254}[!-~])?", agent):
        raise ValueError("--user-agent: expected 1 to 256 visible ASCII characters")
    config, engine, log = from_links(links), Engine(1), Log.to(Writing(lambda line: None))
    try:
        async with Naming(engine, log, InForce(Resolving())) as names:
            ways = Ways(config, engine, names, log)
            outbounds = ways.outbounds()
            for plugin in ways.dialling:
                names.start(plugin.serve())
            way = Own(outbounds[config.rules[-1].way if config.rules else "direct"])

            async def secured(stream: Stream, name: str) -> Stream:
                client = await asyncio.to_thread(TlsClient, TlsClientOptions(name, ("http/1.1",)))
                return await engine.tls_client(stream, client)

            document = await fetch(address, way, secured, MOST_BYTES, agent=agent)
            assert document is not None  # nothing was known of it
            return document.body
    finally:
        await engine.close()
