"""Sets from the web in a running Byway: fetched, kept, judged by; servers that fail or change."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import jsonschema
import pytest

from byway.api.openapi import description
from byway.api.sets import renewed_since, set_views, stale, updated
from byway.api.views import degraded
from byway.app import App
from byway.app.refresh import FIRST_RETRY, Refresher
from byway.config import Config, UrlSet, load_text, open_sets
from byway.flow import Flow, Network, Target
from byway.ledger.log import Log, Writing
from byway.outbounds.web import Denied, Document
from byway.rules import Reject
from tests.website import page, silent, stalling, website

pytestmark = pytest.mark.usefixtures("nowhere")

CONFIG = """
log: {{file: {folder}/log}}
limits: {{drain: 0s}}
control: {{socket: off}}
inbounds: {{door: {{type: mixed, listen: "127.0.0.1:0"}}}}
outbounds: {{hop: {hop}}}
groups: {{group: {{type: select, members: [hop, direct]}}}}
sets: {{ads: {{url: "{url}", {more}}}}}
rules: [{{set: ads, to: reject}}, {{otherwise: direct}}]
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "byway" / "sets"


def config(folder: Path, url: str, more: str = "", hop: str = "{type: direct}") -> Config:
    return load_text(CONFIG.format(folder=folder, url=url, more=more, hop=hop), "x.yaml")


def rejects(app: App, name: str) -> bool:
    """What the judge that carries flows now says of a name."""
    flow = Flow(1, Network.TCP, "door", None, Target.of(name, 443))
    return isinstance(app.now.judge.decide(flow), Reject)


async def outcome(app: App, name: str = "ads") -> str:
    """Ask for a set now; what came of it."""
    assert app.keepers.refresher is not None
    return await asyncio.wait_for(app.keepers.refresher.update(name), 20)


async def test_a_set_is_fetched_and_judged_by(tmp_path: Path, cache: Path) -> None:
    async with website() as site:
        site.pages["/ads.txt"] = page(b"ads.example\na b\n", "200 OK", 'ETag: "1"')
        async with App(config(tmp_path, site.url("/ads.txt"))) as app:
            judge = app.now.judge
            assert await outcome(app) in ("1 entries", "unchanged")
            assert rejects(app, "www.ads.example")
            assert app.now.judge is judge
            assert degraded(app) == []
            (view,) = set_views(app)
            jsonschema.validate(
                {"sets": [view]},
                {"$ref": "#/components/schemas/Sets", "components": description()["components"]},
                cls=jsonschema.Draft202012Validator,
            )
            assert "/ads.txt:2:1: sets.ads: 'a b' is ignored" in json.dumps(view)
            site.pages["/ads.txt"] = page(b"", "304 Not Modified")
            assert await outcome(app) == "unchanged"
            assert 'If-None-Match: "1"' in site.asked[-1]
            site.pages["/ads.txt"] = page(gzip.compress(b"new.example"), "200 OK", 'ETag: "2"')
            assert await outcome(app) == "1 entries"
            assert rejects(app, "new.example")
            assert not rejects(app, "ads.example")
        assert "'a b' is ignored" in (tmp_path / "log").read_text()

    async with App(config(tmp_path, site.url("/ads.txt"))) as app:  # the server is gone
        assert rejects(app, "new.example")
        assert "ads: failed" in f"ads: {await outcome(app)}"
        (told,) = degraded(app)
        assert told["what"] == "set ads"
        assert "not up to date since 20" in str(told["why"])
        assert rejects(app, "new.example")
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("hostile", [silent, stalling(b"HTTP/1.1 200 OK\r\n\r\nads.ex")])
async def test_a_start_waits_for_no_server(tmp_path: Path, hostile: object) -> None:
    async with website() as site:
        site.pages["/a"] = hostile  # type: ignore[assignment]
        async with asyncio.timeout(60), App(config(tmp_path, site.url("/a"))) as app:
            assert not rejects(app, "ads.example")
            (told,) = degraded(app)
            assert "empty since" in str(told["why"])
            assert "not fetched yet" in str(told["why"])
            while not site.asked:
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (page(b"<html>an error</html>"), "a web page"),
        (page(b""), "it is empty"),
        (
            page(b"not found\nat all !\n"),
            "no valid entry, for example 'not found' on line 1",
        ),
        (page(b"gone", "404 Not Found"), "said 404 Not Found"),
        (page(b"x" * 100, length=50_000), "before its end"),
        (page(b"a.example\n" * 9000), "more than 65536"),
        (
            page(gzip.compress(bytes(10**7)), "200 OK", "Content-Encoding: gzip"),
            "decompresses to more",
        ),
        (page(b"SRS\x01"), "it is cut short"),
    ],
)
async def test_what_is_no_list_replaces_none(tmp_path: Path, bad: object, words: str) -> None:
    async with website() as site:
        site.pages["/a"] = page(b"ads.example\n")
        async with App(config(tmp_path, site.url("/a"), "max: 64KiB")) as app:
            await outcome(app)
            site.pages["/a"] = bad  # type: ignore[assignment]
            assert words in await outcome(app)
            assert rejects(app, "ads.example")
            assert words in str(degraded(app))
            site.pages["/a"] = page(b"more.example\n")
            assert await outcome(app) == "1 entries"
            assert degraded(app) == []


@pytest.mark.parametrize("way", ["hop", "group"])
async def test_a_list_is_fetched_by_the_way_it_names(tmp_path: Path, way: str) -> None:
    door = '{type: socks, listen: "127.0.0.1:0", users: [{name: u, password: p}]}'
    upstream = load_text(f"log: {{file: {tmp_path}/proxy.log}}\ninbounds: {{in: {door}}}")
    async with website() as site, App(upstream) as proxy:
        site.pages["/a"] = page(b"ads.example\n")
        hop = f"{{type: socks, server: '{proxy.addresses['in'][0]}', username: u, password: p}}"
        made = config(tmp_path, site.url("/a", "localhost"), f"via: {way}", hop)
        async with App(made) as app:
            assert await outcome(app) in ("1 entries", "unchanged")
            assert rejects(app, "ads.example")
            (passage,) = [*proxy.ledger.past, *proxy.ledger.live][:1]
            assert passage.flow.target.host == "localhost"  # the proxy resolved it


async def test_the_proxy_variables_of_the_system_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with website() as site:
        site.pages["/a"] = page(b"ads.example\n")
        async with App(config(tmp_path, site.url("/a"))) as app:
            assert not (await outcome(app)).startswith("failed")


async def test_reload_keeps_what_is_the_same_and_lets_go_what_is_not(tmp_path: Path) -> None:
    async with website() as site:
        site.pages["/a"] = page(b"a.example\n")
        site.pages["/b"] = page(b"b.example\n")
        async with App(config(tmp_path, site.url("/a"))) as app:
            await outcome(app)
            await app.reload(config(tmp_path, site.url("/a"), hop="{type: direct, mark: 0}"))
            assert rejects(app, "a.example")
            asked = len(site.asked)
            await app.reload(config(tmp_path, site.url("/b")))
            assert await outcome(app) in ("1 entries", "unchanged")
            assert rejects(app, "b.example")
            assert not rejects(app, "a.example")
            assert len(site.asked) > asked
            await app.reload(load_text(f"log: {{file: {tmp_path}/log}}"))
            assert app.keepers.refresher is not None
            assert app.keepers.refresher.sets == {}
            await app.reload(config(tmp_path, site.url("/a")))
            assert rejects(app, "a.example")


def test_check_reads_what_was_fetched_and_asks_nobody(tmp_path: Path) -> None:
    opened = open_sets(config(tmp_path, "http://127.0.0.1:1/a"))
    assert opened.problems == []
    assert not opened.sets["ads"].contents.complete


class Clock:
    """Time that passes only when somebody waits; the waits are noted."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.waits: asyncio.Queue[float] = asyncio.Queue()
        self.more = asyncio.Semaphore(0)

    async def wait(self, asked: asyncio.Event, seconds: float) -> None:
        self.waits.put_nowait(seconds)
        await self.more.acquire()
        self.now += seconds


@asynccontextmanager
async def refreshing(
    folder: Path,
    answers: list[Document | Exception | None],
    clock: Clock,
    chance: Callable[[], float] = lambda: 0.5,
) -> AsyncIterator[Refresher]:
    """A refresher whose server gives these answers, one by one."""

    async def fetch(section: UrlSet, known: Document | None) -> Document | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    log = Log.to(Writing(lambda line: None))
    made = Refresher(fetch, log, folder, lambda: clock.now, chance, clock.wait)
    parsed = config(folder, "http://web.example/a", "every: 1h")
    async with asyncio.TaskGroup() as tasks:
        made.follow(parsed, open_sets(parsed).sets, tasks)
        try:
            yield made
        finally:
            made.stop()


async def test_failures_wait_longer_and_longer(tmp_path: Path) -> None:
    clock = Clock()
    answers: list[Document | Exception | None] = [TimeoutError("slow")] * 9
    answers += [Denied("busy", 3000.0), Denied("busy", 9e9), Document(b"a.example"), None]
    async with refreshing(tmp_path, answers, clock) as refresher:
        one = refresher.sets["ads"]
        waited: list[float] = []
        for _ in range(len(answers) - 2):
            left = await clock.waits.get()
            if not waited:
                assert one.why == "slow"
            begun = clock.now
            total = one.due - begun
            waited.append(total)
            while clock.now < begun + total:
                clock.more.release()
                if clock.now + left < begun + total:
                    left = await clock.waits.get()
                else:
                    break
        assert waited[:4] == [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY, 8 * FIRST_RETRY]
        assert max(waited) <= 3600
        assert len(set(waited)) >= 8


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 0.75), (1.0, 1.25)])
async def test_times_are_spread(tmp_path: Path, chance: float, wait: float) -> None:
    clock = Clock()
    async with refreshing(tmp_path, [TimeoutError("slow")], clock, lambda: chance) as refresher:
        await clock.waits.get()
        assert refresher.sets["ads"].due - clock.now == pytest.approx(wait * FIRST_RETRY)


async def test_a_past_flow_is_told_of_newer_lists(tmp_path: Path) -> None:
    async with website() as site:
        site.pages["/a"] = page(b"a.example\n", "200 OK", 'ETag: "1"')
        async with App(config(tmp_path, site.url("/a"))) as app:
            await outcome(app)
            now = time.monotonic()
            assert renewed_since(app, now) == ""
            site.pages["/a"] = page(b"a.example\n", "200 OK", 'ETag: "2"')
            assert await outcome(app) == "unchanged"
            site.pages["/a"] = page(b"", "304 Not Modified")
            assert await outcome(app) == "unchanged"
            assert 'If-None-Match: "2"' in site.asked[-1]
            assert renewed_since(app, now) == ""
            site.pages["/a"] = page(b"b.example\n")
            await outcome(app)
            assert renewed_since(app, now) == "the set is up to date again: ads"


async def test_sets_are_updated_by_name(tmp_path: Path) -> None:
    from byway.api.message import Denied as Told

    async with website() as site:
        site.pages["/a"] = page(b"a.example\n")
        async with App(config(tmp_path, site.url("/a"))) as app:
            done = await updated(app, {"names": ["ads"]})
            assert done["ads"] in ("1 entries", "unchanged")
            assert set(await updated(app, None)) == {"ads"}
            for question in ({"names": ["x"]}, {"names": [1]}, {"names": "ads"}):
                with pytest.raises(Told):
                    await updated(app, question)
            assert app.keepers.refresher is not None
            assert stale(app.keepers.refresher.sets.values()) == []
    async with App(load_text(f"log: {{file: {tmp_path}/log}}")) as app:
        with pytest.raises(Told):
            await updated(app, None)
