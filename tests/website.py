"""A web server for tests that does whatever a page of it says, also what no server should."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.streams.certificates import certificate

Page = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def page(body: bytes, status: str = "200 OK", *fields: str, length: int | None = None) -> Page:
    """A page that is sent whole; `length` is what the server says of it."""

    async def sent(_: str, writer: asyncio.StreamWriter) -> None:
        count = len(body) if length is None else length
        lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {count}", "", ""]
        writer.write("\r\n".join(lines).encode() + body)

    return sent


def raw(data: bytes) -> Page:
    """Bytes, as they are."""

    async def sent(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return sent


async def silent(_: str, writer: asyncio.StreamWriter) -> None:
    """Nothing, for ever."""
    await writer.drain()
    await asyncio.Event().wait()


def stalling(data: bytes) -> Page:
    """These bytes, and then nothing for ever."""

    async def sent(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.Event().wait()

    return sent


class Website:
    """The pages by their paths, and the heads of all requests so far."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        self.port = 0
        self.scheme = "http"
        self._visits: set[asyncio.Task[None]] = set()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Where a page is."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head)
            await self.pages.get(head.split()[1], page(b"", "404 Not Found"))(head, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._visits.discard(task)
            writer.close()

    async def close(self) -> None:
        for task in tuple(self._visits):
            task.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn


@asynccontextmanager
async def website(folder: Path | None = None) -> AsyncIterator[Website]:
    """A running one on 127.0.0.1; with a folder for its certificate it speaks TLS."""
    site, context = Website(), None
    if folder is not None:
        signed = certificate("127.0.0.1", "web.example")
        (folder / "site.pem").write_bytes(signed.pem + signed.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "site.pem")
        site.scheme = "https"
    server = await asyncio.start_server(site.visit, "127.0.0.1", 0, ssl=context)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        await site.close()
