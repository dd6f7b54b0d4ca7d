"""One connection of the control interface: requests in, answers out, within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from byway.api import message
from byway.api.message import Asked, Denied, Follow, Reply
from byway.api.routes import Routes
from byway.app import App, Reread
from byway.protocols.web_address import is_own_place

IDLE = 60.0  # seconds between two requests
PATIENCE = 10.0  # seconds for a request, and for an answer to be taken


class Conversation:
    """Speaks HTTP with admitted clients."""

    def __init__(self, app: App, reread: Reread) -> None:
        self._routes = Routes(app, reread)
        self._log = app.log

    async def hold(self, link: socket.socket, metrics: bool) -> None:
        """Serve requests until the client leaves. Raises OSError and TimeoutError."""
        heard = _Heard(link)
        keep = True
        while keep:
            bodiless = False
            try:
                data = await heard.head()
                if data is None:
                    return
                bodiless = data.startswith(b"HEAD ")
                asked = message.asked(data)
                body = await heard.body(asked.length)
                keep = asked.keep
                reply = await self._answer(asked, body, metrics)
            except Denied as why:
                keep = keep and why.status in (403, 404, 405, 409, 422)
                reply = message.denial(why)
            if isinstance(reply, Follow):
                await _stream(link, reply)
                return
            await _send(link, reply.encode(keep, bodiless=bodiless))

    async def _answer(self, asked: Asked, body: bytes, metrics: bool) -> Reply | Follow:
        if metrics:
            if (asked.method, asked.path) != ("GET", "/metrics"):
                raise Denied(404, "only /metrics is available")
            if not is_own_place(asked.host):
                raise Denied(
                    403, "request it by address, not by name"
                )  # a web page's name may lead here
        question = message.question(body)
        try:
            return await self._routes.answer(asked, question)
        except Denied:
            raise
        except Exception as error:
            self._log.fault(error, interface="control", path=asked.path)
            raise Denied(500, "internal error; see the log") from error


class _Heard:
    """The unread bytes of a client."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._data = bytearray()

    async def head(self) -> bytes | None:
        """The next request's head, or None where the client has left or keeps silent."""
        if not self._data:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE):
                    await self._more()
            if not self._data:
                return None
        async with asyncio.timeout(PATIENCE):
            while (end := self._data.find(b"\r\n\r\n")) < 0:
                if len(self._data) > message.HEAD_LIMIT:
                    raise Denied(431, f"the head is larger than {message.HEAD_LIMIT} bytes")
                if not await self._more():
                    return None
        return self._taken(end, 4)

    async def body(self, length: int) -> bytes:
        """So many bytes. Raises ConnectionError when they do not come."""
        async with asyncio.timeout(PATIENCE):
            while len(self._data) < length:
                if not await self._more():
                    raise ConnectionResetError(
                        "the client disconnected in the middle of its request"
                    )
        return self._taken(length, 0)

    async def _more(self) -> bool:
        loop = asyncio.get_running_loop()
        data = await loop.sock_recv(self._link, 16384)
        self._data += data
        return bool(data)

    def _taken(self, length: int, skipped: int) -> bytes:
        data = bytes(self._data[:length])
        del self._data[: length + skipped]
        return data


async def _stream(link: socket.socket, reply: Follow) -> None:
    """Send lines as they come, until the client has heard enough."""
    framing = "Transfer-Encoding: chunked"
    await _send(link, message.head(200, message.LINES, framing, keep=False))
    async with contextlib.aclosing(reply.lines) as lines:
        async for line in lines:
            await _send(link, message.chunk(line.encode() + b"\n"))
    await _send(link, message.chunk(b""))


async def _send(link: socket.socket, data: bytes) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.get_running_loop().sock_sendall(link, data)
