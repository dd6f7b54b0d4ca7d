"""The lab's web server, HTTP/1.1 and 1.0, plain and over TLS: `origin PORT TLS_PORT PEM TITLE`.

GET  /            a page with the title in it
GET  /bytes/N     N bytes of `content`, with a Content-Length; /chunked/N: the same, chunked
GET  /digest/N    the SHA-256 of those, in hex
any  /echo        what was asked, as JSON: method, target, headers, body's size and SHA-256
GET  /status/N    an empty answer with this status
any  /socket      with `Upgrade: echo`: 101, then every byte comes back
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import sys
from collections.abc import AsyncIterator, Iterator

_BLOCK = hashlib.shake_256(b"byway lab content").digest(65536)
_REASONS = {101: "Switching Protocols", 200: "OK", 204: "No Content", 304: "Not Modified"}


def content(size: int) -> Iterator[bytes]:
    """The known content of a size, in blocks: the same bytes each time."""
    while size > 0:
        yield _BLOCK[:size]
        size -= len(_BLOCK)


def digest(size: int) -> str:
    """The SHA-256 of `content(size)`, in hex."""
    whole = hashlib.sha256()
    for block in content(size):
        whole.update(block)
    return whole.hexdigest()


def page(title: str) -> str:
    """The page that a site with this title shows."""
    return f"<!doctype html>\n<title>{title}</title>\n<p>You have reached {title}.</p>\n"


class Request:
    """One request as it came. Only what a test's server needs; not a model of strictness."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.headers = [(k, v.strip()) for k, _, v in (line.partition(":") for line in lines[1:-2])]
        self._reader = reader

    def header(self, name: str) -> str:
        """The values of a header, joined by commas."""
        return ", ".join(v for k, v in self.headers if k.lower() == name)

    @property
    def keeps(self) -> bool:
        """Whether the connection goes on after this (RFC 9112 section 9.3)."""
        options = self.header("connection").lower()
        return "keep-alive" in options if self.version == "HTTP/1.0" else "close" not in options

    async def body(self) -> AsyncIterator[bytes]:
        """The body's payload, whatever its framing."""
        if "chunked" in self.header("transfer-encoding").lower():
            while size := int((await self._reader.readline()).split(b";")[0], 16):
                async for data in self._exactly(size):
                    yield data
                await self._reader.readexactly(2)
            while await self._reader.readline() not in (b"\r\n", b""):
                pass
        else:
            async for data in self._exactly(int(self.header("content-length") or 0)):
                yield data

    async def _exactly(self, size: int) -> AsyncIterator[bytes]:
        while size:
            data = await self._reader.read(min(size, 262144))
            if not data:
                raise EOFError
            size -= len(data)
            yield data


class Origin:
    """Answers the requests of one connection after the other."""

    def __init__(self, title: str) -> None:
        self._title = title

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, EOFError, ValueError, asyncio.LimitOverrunError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = Request(await reader.readuntil(b"\r\n\r\n"), reader)
        if request.header("expect").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.header("upgrade") == "echo" and request.target == "/socket":
            _head(writer, request, 101, [("Upgrade", "echo"), ("Connection", "Upgrade")])
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            return False
        size, whole = 0, hashlib.sha256()
        async for data in request.body():
            size += len(data)
            whole.update(data)
        path, _, last = request.target.partition("?")[0].rpartition("/")
        if path in ("/bytes", "/chunked") and last.isdigit():
            await _send(writer, request, int(last), chunked=path == "/chunked")
        elif path == "/status" and last.isdigit():
            empty = [] if last in ("204", "304") else [("Content-Length", "0")]
            _head(writer, request, int(last), empty)
        elif path == "/digest" and last.isdigit():
            _text(writer, request, digest(int(last)), "text/plain")
        elif request.target.startswith("/echo"):
            peer = writer.get_extra_info("peername")[0]
            seen = {
                "method": request.method,
                "target": request.target,
                "version": request.version,
                "headers": request.headers,
                "from": peer.removeprefix("::ffff:"),
                "size": size,
                "sha256": whole.hexdigest(),
            }
            _text(writer, request, json.dumps(seen, indent=1) + "\n", "application/json")
        else:
            _text(writer, request, page(self._title), "text/html")
        await writer.drain()
        return request.keeps


def _head(
    writer: asyncio.StreamWriter, request: Request, status: int, headers: list[tuple[str, str]]
) -> None:
    if status != 101:
        headers = [*headers, ("Connection", "keep-alive" if request.keeps else "close")]
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'As Asked')}"]
    lines += [f"{name}: {value}" for name, value in [("Server", "byway-lab"), *headers]]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))


def _text(writer: asyncio.StreamWriter, request: Request, text: str, kind: str) -> None:
    data = text.encode()
    _head(writer, request, 200, [("Content-Type", kind), ("Content-Length", str(len(data)))])
    if request.method != "HEAD":
        writer.write(data)


async def _send(
    writer: asyncio.StreamWriter, request: Request, size: int, *, chunked: bool
) -> None:
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(size))
    _head(writer, request, 200, [("Content-Type", "application/octet-stream"), framing])
    if request.method == "HEAD":
        return
    for block in content(size):
        if chunked:
            writer.write(b"%x\r\n" % len(block))
        writer.write(block)
        if chunked:
            writer.write(b"\r\n")
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")


async def serve(plain: int, secure: int, pem: str, title: str) -> None:
    """Serve until cancelled."""
    origin = Origin(title)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    servers = [
        await asyncio.start_server(origin.talk, None, port, ssl=how, limit=65536, backlog=1024)
        for port, how in ((plain, None), (secure, tls))
    ]
    print("ready", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
