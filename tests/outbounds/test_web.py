"""Fetching documents: real sockets, and servers that are slow, dead, lying or hostile."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.engine import Engine, TlsClient, TlsClientOptions
from byway.errors import PeerError, Reason, Refused
from byway.flow import Dial, Target
from byway.interfaces import Stream
from byway.outbounds import guard
from byway.outbounds.web import Bounds, Denied, Document, fetch
from byway.protocols.http_client import TooLarge
from byway.protocols.web_address import WebAddress
from tests.streams.certificates import authority
from tests.website import page, raw, silent, stalling, website

pytestmark = pytest.mark.usefixtures("nowhere")

QUICK = Bounds(reach=0.3, silence=0.3, total=1.0)


class Here:
    """A dialer: this host."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.dialled: list[Target] = []

    async def connect(self, dial: Dial) -> Stream:
        self.dialled.append(dial.target)
        return await self.engine.connect([Target.of("127.0.0.1", dial.target.port)])

    async def secure(self, stream: Stream, name: str) -> Stream:
        client = TlsClient(TlsClientOptions(name, ca=authority().pem))
        return await self.engine.tls_client(stream, client)


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    engine = Engine(1)
    try:
        yield Here(engine)
    finally:
        await engine.close()


async def got(
    here: Here, url: str, limit: int = 1000, known: Document | None = None, bounds: Bounds = QUICK
) -> Document | None:
    return await fetch(WebAddress.parse(url), here, here.secure, limit, known, bounds)


async def test_a_document_is_fetched_with_what_the_server_knows_it_by(here: Here) -> None:
    async with website() as site:
        site.pages["/a?b=c"] = page(
            b"hello", "200 OK", 'ETag: "1"', "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"
        )

        found = await got(here, site.url("/a?b=c"))

        assert found == Document(b"hello", '"1"', "Mon, 01 Jan 2024 00:00:00 GMT")
        assert f"Host: 127.0.0.1:{site.port}\r\n" in site.asked[0]


async def test_what_has_not_changed_is_not_sent_again(here: Here) -> None:
    async with website() as site:
        site.pages["/a"] = page(b"", "304 Not Modified")

        assert await got(here, site.url("/a"), known=Document(b"", '"1"', "then")) is None
        assert 'If-None-Match: "1"\r\nIf-Modified-Since: then\r\n' in site.asked[0]
        with pytest.raises(Denied, match="said 304"):
            await got(here, site.url("/a"))


async def test_a_user_is_named_to_the_server_alone(here: Here) -> None:
    async with website() as one, website() as other:
        one.pages["/a"] = page(b"", "302 Found", "Location: /b")
        one.pages["/b"] = page(b"", "302 Found", f"Location: {other.url('/c')}")
        other.pages["/c"] = page(b"there")
        url = f"http://ann:s%40@127.0.0.1:{one.port}/a"

        assert (await got(here, url)) == Document(b"there")

        for head in one.asked:
            assert "Authorization: Basic YW5uOnNA\r\n" in head
        assert "Authorization" not in other.asked[0]
        assert "s@" not in repr(WebAddress.parse(url)) + str(WebAddress.parse(url))


async def test_https_stays_https(here: Here, tmp_path: Path) -> None:
    async with website(tmp_path) as site, website() as plain:
        site.pages["/a"] = page(b"sealed")
        site.pages["/down"] = page(b"", "301 Moved", f"Location: {plain.url('/x')}")
        plain.pages["/up"] = page(b"", "308 Moved", f"Location: {site.url('/a', 'web.example')}")

        assert await got(here, site.url("/a")) == Document(b"sealed")
        assert await got(here, plain.url("/up")) == Document(b"sealed")
        with pytest.raises(PeerError, match="from https to http"):
            await got(here, site.url("/down"))
        with pytest.raises(PeerError, match="certificate"):
            await got(here, site.url("/a", "other.example"))


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("Location: /a", "more than 5 redirects"),
        ("Location: ftp://127.0.0.1/", "invalid URL"),
        ("Location: http://a b/", "invalid URL"),
        ("X: y", "without a location"),
    ],
)
async def test_redirects_are_bounded(here: Here, location: str, words: str) -> None:
    async with website() as site:
        site.pages["/a"] = page(b"", "302 Found", location)
        with pytest.raises(PeerError, match=words):
            await got(here, site.url("/a"))


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oh no", "206 Partial Content", "407 x"])
async def test_anything_but_yes_is_no(here: Here, status: str) -> None:
    async with website() as site:
        site.pages["/a"] = page(b"text", status, "Retry-After: 120")
        with pytest.raises(Denied, match=f"said {status}") as caught:
            await got(here, site.url("/a"))
        assert caught.value.after == 120


async def test_gzip_is_undone(here: Here) -> None:
    async with website() as site:
        packed = gzip.compress(b"hello ") + gzip.compress(b"again") + bytes(7)
        site.pages["/a"] = page(packed, "200 OK", "Content-Encoding: gzip")
        site.pages["/b.gz"] = page(gzip.compress(b"a file"))
        site.pages["/short"] = page(packed[:20], "200 OK", "Content-Encoding: gzip")
        site.pages["/none"] = page(b"hello", "200 OK", "Content-Encoding: gzip")
        site.pages["/br"] = page(b"hello", "200 OK", "Content-Encoding: br")

        assert await got(here, site.url("/a")) == Document(b"hello again")
        assert await got(here, site.url("/b.gz")) == Document(b"a file")
        for path, words in (
            ("/short", "truncated"),
            ("/none", "is not gzip"),
            ("/br", "coding"),
        ):
            with pytest.raises(PeerError, match=words):
                await got(here, site.url(path))


async def test_a_bomb_does_not_go_off(here: Here) -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    async with website() as site:
        site.pages["/a"] = page(bomb, "200 OK", "Content-Encoding: gzip")
        site.pages["/b"] = page(bomb)
        for path in ("/a", "/b"):
            with pytest.raises(TooLarge, match="decompresses to more than 1000000"):
                await got(here, site.url(path), limit=1_000_000)


async def test_a_size_is_a_bound_whatever_the_server_says(here: Here) -> None:
    async with website() as site:
        site.pages["/says"] = page(b"x" * 1001)
        site.pages["/silent"] = raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001)
        site.pages["/less"] = page(b"x" * 5000, length=10)
        site.pages["/more"] = page(b"x" * 10, length=20)
        for path in ("/says", "/silent"):
            with pytest.raises(TooLarge):
                await got(here, site.url(path))
        assert await got(here, site.url("/less")) == Document(b"x" * 10)
        with pytest.raises(PeerError, match="10 bytes before its end"):
            await got(here, site.url("/more"))


async def test_nothing_waits_for_ever(here: Here) -> None:
    async with website() as site:
        site.pages["/silent"] = silent
        site.pages["/half"] = stalling(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        with pytest.raises(TimeoutError, match=r"did not answer in 0.3s"):
            await got(here, site.url("/silent"))
        with pytest.raises(TimeoutError, match=r"sent nothing for 0.3s"):
            await got(here, site.url("/half"))
        with pytest.raises(TimeoutError, match=r"took over 0.2s"):
            await got(here, site.url("/half"), bounds=Bounds(9, 9, 0.2))


async def test_a_dead_server_is_told(here: Here) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await got(here, f"http://127.0.0.1:{port}/")
    async with website() as site:
        site.pages["/a"] = raw(b"")
        with pytest.raises(PeerError, match="closed the connection"):
            await got(here, site.url("/a"))
        site.pages["/a"] = raw(b"\x00\x01garbage\r\n\r\n")
        with pytest.raises(PeerError):
            await got(here, site.url("/a"))


async def test_a_cancel_closes_the_connection(here: Here) -> None:
    async with website() as site:
        cancelled, gone = asyncio.Event(), asyncio.Event()

        async def watched(_: str, writer: asyncio.StreamWriter) -> None:
            await cancelled.wait()
            try:
                while True:
                    writer.write(bytes(65536))
                    await writer.drain()
            except ConnectionError:
                gone.set()

        site.pages["/a"] = watched
        fetching = asyncio.create_task(got(here, site.url("/a"), bounds=Bounds()))
        while not site.asked:
            await asyncio.sleep(0)
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
        cancelled.set()
        await asyncio.wait_for(gone.wait(), 10)


@pytest.mark.parametrize(
    "url", ["ftp://a/", "a.example", "http://", "http:///x", "http://a b/", "http://a:99999/", ""]
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        WebAddress.parse(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "authority_", "path"),
    [
        ("http://A.Example", "a.example", "/"),
        ("https://a.example:443/x y".replace(" ", "%20"), "a.example", "/x%20y"),
        ("https://[2001:DB8::1]:8443/ü?q=ö#part", "[2001:db8::1]:8443", "/%C3%BC?q=%C3%B6"),
        ("http://例え.jp/", "xn--r8jz45g.jp", "/"),
    ],
)
def test_a_web_address_is_made_ready_for_the_wire(url: str, authority_: str, path: str) -> None:
    found = WebAddress.parse(url)
    assert (found.authority, found.path) == (authority_, path)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_not(text: str) -> None:
    for url in (text, f"http://{text}"):
        try:
            found = WebAddress.parse(url)
        except (ValueError, UnicodeError):
            continue
        found.authority.encode("ascii")
        assert found.path.isascii()
        assert not any(c <= " " for c in found.path)


class Guarded(Here):
    """As an outbound is: guarded dials do not reach this host's own addresses."""

    async def connect(self, dial: Dial) -> Stream:
        if dial.guarded:
            if dial.target.host == "localhost":  # what Direct finds when it has resolved it
                raise Refused("a loopback address", Reason.RULES)
            guard.check(dial.target, lambda _: False)
        return await super().connect(dial)


HOSTILE = [
    "http://127.0.0.1:{port}/secret",
    "http://127.0.0.1.:{port}/secret",
    "http://localhost:{port}/secret",
    "http://2130706433:{port}/secret",
    "http://[::1]:{port}/secret",
    "http://[::ffff:127.0.0.1]:{port}/secret",
    "http://[64:ff9b:1::7f00:1]:{port}/secret",
    "http://169.254.169.254:{port}/secret",
    "http://[fe80::1]:{port}/secret",
    "http://[fd20:ce::254]:{port}/secret",
]


@pytest.mark.parametrize("location", HOSTILE)
async def test_a_server_elsewhere_leads_nowhere_near(here: Here, location: str) -> None:
    way = Guarded(here.engine)
    async with website() as site:
        there = location.format(port=site.port)
        site.pages["/list"] = page(b"", "302 Found", f"Location: {there}")
        site.pages["/secret"] = page(b"the keys")
        with pytest.raises(PeerError, match="redirects to"):
            await got(way, site.url("/list", "lists.example"))
        assert len(site.asked) == 1
        assert [target.host for target in way.dialled] == ["lists.example"]


async def test_a_person_may_name_a_server_near(here: Here) -> None:
    way = Guarded(here.engine)
    async with website() as site:
        site.pages["/list"] = page(b"", "302 Found", "Location: /other")
        site.pages["/other"] = page(b"the list")
        document = await got(way, site.url("/list", "127.0.0.1"))
        assert document is not None
        assert document.body == b"the list"


async def test_a_way_by_elsewhere_leads_nowhere_near(here: Here) -> None:
    way = Guarded(here.engine)
    async with website() as site:
        away, back = site.url("/b", "elsewhere.example"), site.url("/secret", "127.0.0.1")
        site.pages["/a"] = page(b"", "302 Found", f"Location: {away}")
        site.pages["/b"] = page(b"", "302 Found", f"Location: {back}")
        site.pages["/secret"] = page(b"the keys")
        with pytest.raises(PeerError, match="redirects to"):
            await got(way, site.url("/a", "127.0.0.1"))
        assert len(site.asked) == 2
