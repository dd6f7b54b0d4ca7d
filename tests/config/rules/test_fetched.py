"""Lists of the web on disk: whole or not at all, bounded, closed to others."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from byway.config.rules import fetched
from byway.config.rules.compiled import CACHED, user_cache
from byway.flow import Flow, Network, Target
from byway.outbounds.web import Document
from byway.protocols.web_address import WebAddress
from byway.rules import NO_FACTS
from byway.rules.gathering import Bad

URL = WebAddress.parse("https://ann:secret@web.example/ads.txt?token=secret")


def flow(name: str) -> Flow:
    return Flow(1, Network.TCP, "x", None, Target.of(name, 443))


def kept(folder: Path, body: bytes, now: float = 1000.0, url: WebAddress = URL) -> fetched.Kept:
    found = fetched.planned(url, Document(body, '"1"', "then"), folder, now)
    fetched.store(found, body)
    return found


def test_what_is_stored_is_found_again(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    stored = kept(folder, b"ads.example\n")

    found = fetched.find(URL, folder)

    assert found == stored
    assert found.body() == b"ads.example\n"
    assert (found.etag, found.modified, found.checked, found.form) == ('"1"', "then", 1000, "lines")
    contents, _ = fetched.read(found, "auto", folder)
    assert contents.match(flow("a.ads.example"), NO_FACTS) is True
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (one,) = folder.iterdir()
    assert "secret" not in one.name
    assert b"secret" not in one.read_bytes()
    found.touch(2000.0)
    again = fetched.find(URL, folder)
    assert again is not None
    assert again.checked == 2000
    assert fetched.find(WebAddress.parse("https://web.example/other"), folder) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]\n", b"{}\n", b'{"version": 1}\n', b"\xff\n"])
def test_what_is_no_kept_list_counts_as_none(tmp_path: Path, damage: bytes) -> None:
    kept(tmp_path, b"ads.example\n").path.write_bytes(damage)

    assert fetched.find(URL, tmp_path) is None


def test_damage_is_seen(tmp_path: Path) -> None:
    stored = kept(tmp_path, b"ads.example\n")
    stored.path.write_bytes(stored.path.read_bytes().replace(b"ads", b"bad"))
    with pytest.raises(OSError, match="damaged"):
        stored.body()
    stored.path.write_bytes(stored.path.read_bytes()[:-1])
    assert fetched.find(URL, tmp_path) is None


def test_a_kill_leaves_the_older_list(tmp_path: Path) -> None:
    kept(tmp_path, b"old.example\n")
    script = """
import os, sys, signal
from pathlib import Path
from byway.config.rules import fetched
from byway.protocols.web_address import WebAddress
from byway.outbounds.web import Document
utime = os.utime
os.utime = lambda *_: os.kill(os.getpid(), signal.SIGKILL)   # all is written, nothing in place
body = b"new.example\\n" * 100000
fetched.store(
    fetched.planned(WebAddress.parse(sys.argv[1]), Document(body), Path(sys.argv[2]), 5.0), body
)
"""
    done = subprocess.run([sys.executable, "-c", script, URL.whole, str(tmp_path)], timeout=50)

    assert done.returncode == -9
    found = fetched.find(URL, tmp_path)
    assert found is not None
    assert found.body() == b"old.example\n"
    (part,) = tmp_path.glob("*.part")
    os.utime(part, (0, 0))
    fetched.prune(tmp_path, [found.path])
    assert list(tmp_path.iterdir()) == [found.path]


def test_the_folder_is_bounded(tmp_path: Path) -> None:
    many = [
        kept(tmp_path, b"a.example\n", float(at), WebAddress.parse(f"http://web.example/{at}"))
        for at in range(6)
    ]
    (tmp_path / "other.txt").write_bytes(bytes(9999))
    size = many[0].path.stat().st_size

    fetched.prune(tmp_path, [many[0].path], 3 * size)

    left = {path for path in tmp_path.iterdir() if path.suffix == ".web"}
    assert left == {many[0].path, many[4].path, many[5].path}
    assert (tmp_path / "other.txt").exists()


def test_a_page_of_html_is_never_stored(tmp_path: Path) -> None:
    with pytest.raises(Bad, match="a web page"):
        fetched.planned(URL, Document(b"<html>error"), tmp_path, 0.0)


def test_a_large_list_is_loaded_as_it_was_compiled(tmp_path: Path) -> None:
    body = b"".join(b"n%d.example\n" % at for at in range(CACHED // 10))
    stored = kept(tmp_path, body)
    fetched.read(stored, "auto", tmp_path, body=body)
    (compiled,) = tmp_path.glob("*.set")
    assert stat.S_IMODE(compiled.stat().st_mode) & 0o077 == 0
    stored.path.write_bytes(stored.path.read_bytes().replace(b"n7.", b"x7."))  # not looked at

    contents, _ = fetched.read(stored, "auto", tmp_path)

    assert contents.match(flow("n7.example"), NO_FACTS) is True


def test_the_folder_is_where_the_system_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert user_cache() == Path("/c/byway/sets")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/h")
    assert user_cache() == Path("/h/.cache/byway/sets")
    monkeypatch.delenv("HOME")
    assert user_cache() == Path("/var/cache/byway/sets")
