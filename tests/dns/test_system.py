"""The host's resolver: its files, servers of the tests' own, and the C library for the rest."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import dns.rcode
import pytest

from byway.dns import SystemResolver
from byway.dns.hostdns import HostDns
from byway.dns.hostfiles import HostFiles
from byway.dns.lookups import ASKER
from byway.dns.system import EACH, knows
from byway.errors import Reason, Unreachable
from byway.flow import Flow, Network, Target
from tests.dns.authority import Asked, Authority, Says, serving

pytestmark = pytest.mark.usefixtures("nowhere")

HERE = b"\x7f\0\0\1"
PATIENT = "options timeout:30 attempts:5"  # asks once, however slow the machine is


def zone(asked: Asked) -> Sequence[bytes]:
    """`known.test` and what is below it; `silent.test` never answers."""
    if asked.name.endswith("silent.test"):
        return []
    if asked.name.endswith("known.test"):
        return [asked.reply("192.0.2.1", "2001:db8::1")]
    return [asked.reply(code=dns.rcode.NXDOMAIN)]


@asynccontextmanager
async def host(
    folder: Path,
    says: Says = zone,
    resolv: str = "",
    services: str = "files dns",
    hosts: str = "",
    **more: object,
) -> AsyncIterator[tuple[SystemResolver, Authority]]:
    async with serving(says) as names:
        (folder / "resolv.conf").write_text(f"nameserver 127.0.0.1\n{resolv}\n")
        (folder / "nsswitch.conf").write_text(f"hosts: {services}\n")
        (folder / "hosts").write_text(hosts)
        resolver = SystemResolver(
            files=HostFiles(folder),
            dns=HostDns(names.port),
            **more,  # type: ignore[arg-type]
        )
        try:
            yield resolver, names
        finally:
            resolver.close()
            await asyncio.sleep(0)


async def unknown(resolver: SystemResolver, name: str) -> str:
    with pytest.raises(Unreachable) as caught:
        await resolver.resolve(name)
    return f"{caught.value.reason.name}: {caught.value}"


def asks_as(source: str, user: str | None = None) -> None:
    """What this task asks for from now on is this client's."""
    target = Target.of("x.test", 1)
    ASKER.set(Flow(1, Network.TCP, "in", Target.of(source, 9), target, user))


def asking(
    group: asyncio.TaskGroup, resolver: SystemResolver, name: str
) -> asyncio.Future[Sequence[bytes]]:
    """Ask in the background; a failure is the future's."""
    told: asyncio.Future[Sequence[bytes]] = asyncio.get_running_loop().create_future()

    async def ask() -> None:
        try:
            told.set_result(await resolver.resolve(name))
        except Unreachable as error:
            told.set_exception(error)
            told.exception()  # whether anybody looks or not

    task = group.create_task(ask())
    told.add_done_callback(lambda _: task.cancel())
    return told


async def heard(names: Authority, count: int) -> None:
    """Wait until so many questions came, so that no burst of them finds its buffer full."""
    while len(names.asked) < count:
        await asyncio.sleep(0)


async def test_resolves_names_of_this_host() -> None:
    resolver = SystemResolver()
    found = await resolver.resolve("localhost")
    assert set(found) <= {HERE, bytes(15) + b"\1"}
    assert await resolver.resolve("localhost") is found  # remembered
    resolver.close()


async def test_many_ask_at_once(tmp_path: Path) -> None:
    async with host(tmp_path) as (resolver, names):
        found = await asyncio.gather(*(resolver.resolve("a.known.test") for _ in range(50)))
        assert len({tuple(one) for one in found}) == 1
        assert set(found[0]) == {b"\xc0\0\2\1", Target.of("2001:db8::1", 0).packed}
        assert names.count("a.known.test") == 2


async def test_what_was_judged_is_what_is_dialled(tmp_path: Path) -> None:
    answers = ["192.0.2.1", "127.0.0.1", None, "127.0.0.1"]

    def flipping(asked: Asked) -> Sequence[bytes]:
        answer = answers.pop(0)
        code = dns.rcode.NXDOMAIN if answer is None else dns.rcode.NOERROR
        return [asked.reply(*filter(None, [answer]), code=code)]

    async with host(tmp_path, flipping, "options no-aaaa", kept=0) as (resolver, _):
        assert await resolver.resolve("flip.test") == await resolver.resolve("flip.test")
        assert len(answers) == 3
        await asyncio.sleep(0.01)
        assert await resolver.resolve("flip.test") == (HERE,)
        await asyncio.sleep(0.01)
        for _ in range(2):
            assert "no such name" in await unknown(resolver, "flip.test")
        assert len(answers) == 1


@pytest.mark.parametrize("name", ["no-such-host.invalid", "x" * 70 + ".test", "a..b", "ü"])
async def test_unknown_names(name: str, tmp_path: Path) -> None:
    async with host(tmp_path) as (resolver, names):
        assert (await unknown(resolver, name)).startswith("NAME_UNKNOWN")
        assert names.asked == []


async def test_an_absolute_name_is_not_completed(tmp_path: Path) -> None:
    def corp(asked: Asked) -> Sequence[bytes]:
        if asked.name == "gone.example.corp.test":
            return [asked.reply("192.0.2.66")]
        return [asked.reply(code=dns.rcode.NXDOMAIN)]

    async with host(tmp_path, corp, "search corp.test") as (resolver, names):
        assert await resolver.resolve("gone.example") == (b"\xc0\0\2\x42",)
        assert (await unknown(resolver, "gone.example.")).startswith("NAME_UNKNOWN")
        assert await resolver.resolve("gone.example") == (b"\xc0\0\2\x42",)
        every = [asked.name for asked in names.asked if asked.kind == "A"]
        assert every == ["gone.example", "gone.example.corp.test", "gone.example"]


@pytest.mark.parametrize(
    ("resolv", "name", "asked"),
    [
        ("search a.test b.test", "short", ["short.a.test", "short.b.test", "short"]),
        ("search a.test", "dotted.name", ["dotted.name", "dotted.name.a.test"]),
        ("search a.test\noptions ndots:2", "dotted.name", ["dotted.name.a.test", "dotted.name"]),
        ("search a.test\noptions ndots:0", "short", ["short", "short.a.test"]),
        ("search a.test\ndomain b.test", "short", ["short.b.test", "short"]),
        ("search a.test\noptions no-tld-query", "short", ["short.a.test"]),
        ("search a.test\nsearch", "short", ["short"]),
        ("search a.test", "short.", ["short"]),
    ],
)
async def test_search(resolv: str, name: str, asked: list[str], tmp_path: Path) -> None:
    async with host(tmp_path, resolv=resolv) as (resolver, names):
        await unknown(resolver, name)
        assert [one.name for one in names.asked if one.kind == "A"] == asked


async def test_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RES_OPTIONS", "no-aaaa")
    options = "options edns0 trust-ad use-vc"
    async with host(tmp_path, resolv=options) as (resolver, names):
        await resolver.resolve("known.test")
    (asked,) = names.asked
    assert (asked.way, asked.kind, asked.message.edns) == ("tcp", "A", 0)
    assert asked.wire[3] & 0x20  # AD
    async with host(tmp_path, resolv="options single-request") as (resolver, names):
        await resolver.resolve("known.test")
    assert [(one.way, one.message.edns, one.wire[3] & 0x20) for one in names.asked] == [
        ("udp", -1, 0)
    ]


async def test_the_next_server_helps_and_servers_take_turns(tmp_path: Path) -> None:
    async with serving(zone) as names:
        (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
        for options, first in (("", 0), ("rotate", 1)):
            (tmp_path / "resolv.conf").write_text(
                # nobody listens at the first two
                f"nameserver 127.0.0.2\nnameserver ::1\nnameserver 127.0.0.1\noptions {options}\n"
            )
            resolver = SystemResolver(files=HostFiles(tmp_path), dns=HostDns(names.port))
            for at in range(3):
                assert await resolver.resolve(f"{first}{at}.known.test")
            resolver.close()
        assert len(names.asked) == 12


async def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    async with host(tmp_path, hosts="192.0.2.7 box box.home\n", kept=0) as (resolver, names):
        for name in ("box", "BOX.home.", "Box"):
            assert await resolver.resolve(name) == (b"\xc0\0\2\7",)
        (tmp_path / "hosts").write_text("192.0.2.77 box\n127.1 odd\n2001:db8::7 box # two\n")
        await asyncio.sleep(0.01)
        both = await resolver.resolve("box")
        assert set(both) == {b"\xc0\0\2\x4d", Target.of("2001:db8::7", 0).packed}
        (tmp_path / "nsswitch.conf").write_text("hosts: dns [!UNAVAIL=return] files\n")
        await asyncio.sleep(0.01)
        await unknown(resolver, "box")
        assert names.count("box") == 2
        (tmp_path / "nsswitch.conf").write_text("hosts: dns [NOTFOUND=continue] files\n")
        await asyncio.sleep(0.01)
        assert await resolver.resolve("box") == both


async def test_an_answer_that_does_not_fit_is_asked_for_by_a_stream(tmp_path: Path) -> None:
    def large(asked: Asked) -> Sequence[bytes]:
        return [asked.reply("192.0.2.1", "2001:db8::1", cut=asked.way == "udp")]

    async with host(tmp_path, large) as (resolver, names):
        assert len(await resolver.resolve("known.test")) == 2
        assert [asked.way for asked in names.asked] == ["udp", "udp", "tcp", "tcp"]


@pytest.mark.parametrize("code", [dns.rcode.FORMERR, dns.rcode.NOTIMP])
async def test_a_server_of_before_edns(code: dns.rcode.Rcode, tmp_path: Path) -> None:
    def old(asked: Asked) -> Sequence[bytes]:
        return zone(asked) if asked.message.edns < 0 else [asked.reply(code=code)]

    async with host(tmp_path, old, "options edns0 no-aaaa") as (resolver, names):
        for at in range(3):
            await resolver.resolve(f"{at}.known.test")
        assert [asked.message.edns for asked in names.asked] == [0, -1, -1, -1]


async def test_a_family_without_an_answer_does_not_take_the_other_along(tmp_path: Path) -> None:
    def half(asked: Asked) -> Sequence[bytes]:
        return zone(asked) if asked.kind == "A" else []

    async with host(tmp_path, half, "options timeout:1") as (resolver, _):
        assert await resolver.resolve("known.test") == (b"\xc0\0\2\1",)


async def test_lies_are_passed_over_and_aliases_followed(tmp_path: Path) -> None:
    def lying(asked: Asked) -> Sequence[bytes]:
        good = asked.reply("192.0.2.1", "2001:db8::1")
        if asked.name == "known.test":
            good = asked.reply(records=["known.test. 60 IN CNAME other.test."])
        return [b"", b"x" * 40, bytes([good[0] ^ 1]) + good[1:], good]

    async with host(tmp_path, lying) as (resolver, names):
        assert len(await resolver.resolve("known.test")) == 2
        assert {asked.name for asked in names.asked} == {"known.test", "other.test"}


async def test_one_client_does_not_stop_the_others(tmp_path: Path) -> None:
    """Hundreds of names in a silent zone, and others are answered at once, without threads."""
    async with host(tmp_path, resolv=PATIENT) as (resolver, names), asyncio.TaskGroup() as group:
        asks_as("192.0.2.66")
        waiting = []
        for at in range(EACH):
            waiting.append(asking(group, resolver, f"n{at}.silent.test"))
            await heard(names, 2 * len(waiting))
        assert not any(told.done() for told in waiting)
        assert await resolver.resolve("c.known.test")  # the oldest of its own gives way
        with pytest.raises(Unreachable, match="of this client"):
            await waiting.pop(0)
        asks_as("192.0.2.7")
        assert await resolver.resolve("a.known.test")
        assert threading.active_count() < 16
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        asks_as("192.0.2.66")
        assert await resolver.resolve("b.known.test")  # who has left has room again


@pytest.mark.parametrize("far", ["192.0.2.66", "192.0.2.67"])
async def test_a_user_is_bounded_from_wherever_he_comes(far: str, tmp_path: Path) -> None:
    async with host(tmp_path, resolv=PATIENT) as (resolver, names), asyncio.TaskGroup() as group:
        waiting = []
        for at in range(EACH):
            asks_as(f"192.0.2.{at % 2 + 66}", "ann")
            waiting.append(asking(group, resolver, f"n{at}.silent.test"))
            await heard(names, 2 * len(waiting))
        asks_as(far, "ann")
        assert await resolver.resolve("a.known.test")
        with pytest.raises(Unreachable, match="of this client"):
            await waiting.pop(0)
        asks_as(far, "bob")
        assert await resolver.resolve("b.known.test")
        assert not any(told.done() for told in waiting)
        for task in waiting:
            task.cancel()


async def test_those_that_were_left_give_their_places_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("byway.dns.system.WAITING", 8)
    async with host(tmp_path) as (resolver, names):
        for at in range(40):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await resolver.resolve(f"n{at}.silent.test")
        assert await resolver.resolve("a.known.test")
        asked = len(names.asked)
        again = asyncio.ensure_future(resolver.resolve("n39.silent.test"))  # still under way
        await asyncio.sleep(0.01)
        assert len(names.asked) == asked
        again.cancel()


@pytest.mark.parametrize(
    ("module", "name", "aware", "does"),
    [
        ("mdns4_minimal", "printer.local", False, True),
        ("mdns4_minimal", "www.example", False, False),
        ("mdns4_minimal", "www.example", True, False),
        ("mdns", "www.example", True, True),
        ("mdns6", "local", False, True),
        ("wins", "server", False, True),
        ("wins", "www.example", False, False),
        ("mymachines", "box", False, True),
        ("myhostname", "_gateway", False, True),
        ("myhostname", socket.gethostname().lower(), False, True),
        ("myhostname", "www.example", False, False),
        ("resolve", "www.example", False, True),
        ("ldap", "www.example", False, True),
        ("sss", "www.example", False, True),
    ],
)
def test_what_other_modules_know(module: str, name: str, aware: bool, does: bool) -> None:
    assert knows(module, name, aware) is does


async def test_other_modules_are_asked_by_the_c_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def library(name: str, *_: object, **__: object) -> object:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.9", 0))]

    services = "files mdns4_minimal [NOTFOUND=return] dns wins"
    async with host(tmp_path, services=services, hosts="192.0.2.7 box.local") as (resolver, _):
        monkeypatch.setattr("byway.dns.system.socket.getaddrinfo", library)
        assert await resolver.resolve("printer.local") == (b"\xc0\0\2\x09",)
        assert await resolver.resolve("box.local") == (b"\xc0\0\2\7",)
        monkeypatch.undo()
        assert await resolver.resolve("www.known.test")
        assert asked == ["printer.local"]


async def test_the_c_library_is_not_one_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that hang, for those who have left and those who wait, leave some for others."""
    let = threading.Event()

    def library(name: str, *_: object, **__: object) -> object:
        if "silent" in name:
            let.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.9", 0))]

    async with (
        host(tmp_path, services="files ldap", threads=4) as (resolver, _),
        asyncio.TaskGroup() as group,
    ):
        monkeypatch.setattr("byway.dns.system.socket.getaddrinfo", library)
        try:
            asks_as("192.0.2.66")
            waiting = [
                group.create_task(resolver.resolve(f"n{at}.silent.test")) for at in range(20)
            ]
            await asyncio.sleep(0)
            for task in waiting[::2]:
                task.cancel()
            asks_as("192.0.2.7")
            for at in range(5):
                assert await resolver.resolve(f"n{at}.test") == (b"\xc0\0\2\x09",)
            for task in waiting:
                task.cancel()
        finally:
            let.set()


async def test_old_spellings_of_addresses(tmp_path: Path) -> None:
    async with host(tmp_path) as (resolver, names):
        for name in ("127.1", "0x7f000001", "2130706433"):
            assert await resolver.resolve(name) == (HERE,)
        assert await resolver.resolve("a.localhost") == (HERE, bytes(15) + b"\1")
        assert names.asked == []


async def test_without_files_this_host_is_asked(tmp_path: Path) -> None:
    async with serving(zone) as names:
        empty = tmp_path / "none"
        resolver = SystemResolver(files=HostFiles(empty), dns=HostDns(names.port))
        assert await resolver.resolve("www.known.test")
        resolver.close()
    assert os.listdir(tmp_path) == []
    assert (await unknown(resolver, "www.other.test")).startswith(Reason.TIMED_OUT.name)
