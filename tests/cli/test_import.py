"""`byway import` as a person calls it: files, standard input, the web; what it writes and tells."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from byway.app import App
from byway.config import check_report, load_text
from tests.website import page, website

SOURCE = Path(__file__).parents[2] / "src"
LINK = b"socks5://ann:secret@one.example:1080#one\nvmess://x\n"


def imported(*words: str, given: bytes = b"", folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "byway", "import", *words],
        input=given.decode(),
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_a_config_goes_out_and_what_is_not_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "sub").write_bytes(LINK)

    done = imported("sub", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert load_text(done.stdout).outbounds["one"].type == "socks"
    assert done.stderr.splitlines() == [
        "sub:2: a vmess:// link: VMess is not supported yet",
        "1 inbound, 2 outbounds, 0 groups, 0 sets, 1 rule; 1 thing not converted exactly",
    ]
    assert "secret" not in done.stderr


def test_a_link_is_taken_as_it_is_typed(tmp_path: Path) -> None:
    done = imported("socks5://ann:secret@one.example:1080#one", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_text(done.stdout).outbounds["one"].type == "socks"

    for word in ("snell://x@h:1", "ftp://ann:secret@h/list", "HTTP://127.0.0.1:1/x"):
        done = imported(word, folder=tmp_path)
        assert done.returncode == 1
        assert "no such file" not in done.stderr
        assert "secret" not in done.stderr


def test_a_plugin_that_is_not_installed_is_told(tmp_path: Path) -> None:
    link = b"ss://YWVzLTEyOC1nY206cA@192.0.2.1:1/?plugin=gost-plugin#far\n"
    (tmp_path / "sub").write_bytes(link)

    done = imported("sub", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "outbounds.far.plugin: the program gost-plugin is not in PATH" in done.stderr


def test_a_file_is_written_for_its_owner_and_never_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "out.yaml").write_text("mine")

    done = imported("-", "-o", "out.yaml", given=LINK, folder=tmp_path)
    assert done.returncode == 1
    assert "out.yaml exists; --force replaces it" in done.stderr
    assert (tmp_path / "out.yaml").read_text() == "mine"

    assert imported("-", "-o", "out.yaml", "--force", given=LINK, folder=tmp_path).returncode == 0
    assert imported("-", "-o", "new.yaml", given=LINK, folder=tmp_path).returncode == 0

    for name in ("out.yaml", "new.yaml"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert check_report(tmp_path / name).ok
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        (["-"], b"hello", "is in an unknown format"),
        (["-"], b"proxies: [", "(standard input):2:1: not YAML"),
        (["gone"], b"", "gone: no such file"),
        (["http://"], b"", "expected http://host/path"),
        (["http://127.0.0.1:1/sub?token=secret"], b"", "byway: "),
    ],
)
def test_what_cannot_be_read_is_told(
    words: list[str], given: bytes, said: str, tmp_path: Path
) -> None:
    done = imported(*words, given=given, folder=tmp_path)

    assert done.returncode == 1
    assert said in done.stderr
    assert done.stdout == ""
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_subscription_is_fetched_also_through_a_proxy(tmp_path: Path) -> None:
    door = '{type: mixed, listen: "127.0.0.1:0"}'
    config = load_text(f"log: {{file: {tmp_path}/log}}\ninbounds: {{in: {door}}}")
    async with website() as site, App(config) as proxy:
        site.pages["/sub?token=secret"] = page(LINK)
        url = site.url("/sub?token=secret")
        via = f"http://{proxy.addresses['in'][0]}"

        alone = await asyncio.to_thread(imported, url, folder=tmp_path)
        through = await asyncio.to_thread(imported, url, "--via", via, folder=tmp_path)

        assert alone.returncode == through.returncode == 0, alone.stderr + through.stderr
        assert alone.stdout == through.stdout
        assert f"{site.url('')}:2: a vmess:// link" in alone.stderr
        assert "token" not in alone.stdout + alone.stderr
        assert proxy.ledger.carried == 1


LEAKS = b"""proxies:
- {name: P, type: socks5, server: one.example, port: 1080, password: secret}
rules: ["DSCP,4,P", "IP-SUFFIX,8.8.8.8/24,P", "DSCP,8,REJECT", "MATCH,DIRECT"]
"""


def test_rules_that_are_left_out_are_the_exit_status(tmp_path: Path) -> None:
    done = imported("-", "-o", "out.yaml", given=LEAKS, folder=tmp_path)

    assert done.returncode == 3
    assert check_report(tmp_path / "out.yaml").ok
    assert done.stderr.splitlines()[-1] == (
        "LEFT OUT: 3 rules: 2 to P, 1 to REJECT. Their flows now reach the rules after them"
    )


def test_strict_writes_nothing_when_rules_are_left_out(tmp_path: Path) -> None:
    printed = imported("-", "--strict", given=LEAKS, folder=tmp_path)
    written = imported("-", "--strict", "-o", "out.yaml", given=LEAKS, folder=tmp_path)

    assert (printed.returncode, printed.stdout, written.returncode) == (1, "", 1)
    assert "LEFT OUT: 3 rules: 2 to P" in printed.stderr
    assert "nothing is written" in written.stderr
    assert list(tmp_path.iterdir()) == []
    assert imported("-", "--strict", given=LINK, folder=tmp_path).returncode == 0


def test_notes_of_one_reason_are_one_line_and_counted_at_the_end(tmp_path: Path) -> None:
    links = [f"snell://id@x.example:1#node%20{at}" for at in range(4700)]
    links += [f"tuic://id@x.example:1#t{at}" for at in range(3)]
    text = "\n".join([*links, LINK.decode()]).encode()

    done = imported("-", given=text, folder=tmp_path)

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "(standard input):1: 4700 times: Snell is not supported yet: "
        "node 0, node 1, node 2, node 3, node 4 and 4695 more",
        *(f"(standard input):{4701 + at}: t{at}: TUIC is not supported yet" for at in range(3)),
        "(standard input):4705: a vmess:// link: VMess is not supported yet",
        "missing most:",
        "  4700  Snell is not supported yet",
        "     3  TUIC is not supported yet",
        "     1  VMess is not supported yet",
        "1 inbound, 2 outbounds, 0 groups, 0 sets, 1 rule; 4704 things not converted exactly",
    ]


async def test_the_server_of_a_subscription_is_told_who_asks(tmp_path: Path) -> None:
    async with website() as site:
        site.pages["/sub"] = page(LINK)
        words = (site.url("/sub"), "--user-agent")

        plain = await asyncio.to_thread(imported, words[0], folder=tmp_path)
        named = await asyncio.to_thread(imported, *words, "clash.meta/1.19", folder=tmp_path)
        bad = await asyncio.to_thread(imported, *words, "a\r\nX: y", folder=tmp_path)

        agents = [
            line.partition(": ")[2]
            for head in site.asked
            for line in head.splitlines()
            if line.startswith("User-Agent:")
        ]
    assert (plain.returncode, named.returncode, bad.returncode) == (0, 0, 1)
    assert agents == ["Byway", "clash.meta/1.19"]
    assert "visible ASCII" in bad.stderr


def test_regexes_that_are_none_are_told_by_nobody_but_us(tmp_path: Path) -> None:
    proxy = "{name: a, type: http, server: x, port: 1}"
    text = (
        f"proxies: [{proxy}]\n"
        "proxy-groups:\n"
        "- {name: G, type: select, include-all: true, filter: '^(?!.*cn).*$'}\n"
        "- {name: H, type: select, include-all: true, filter: '(+'}\n"
        "- {name: I, type: select, include-all: true, filter: '(?<=a{1001})['}\n"
        "rules: ['DOMAIN-REGEX,(?=x)a,G', 'DOMAIN-REGEX,a{1001},G', 'DOMAIN-REGEX,(,G',"
        " 'MATCH,G']\n"
    )

    done = imported("-", given=text.encode(), folder=tmp_path)

    assert done.returncode == 3
    own = ("(standard input):", "missing most:", "  ", "1 inbound,", "LEFT OUT: 3 rules: 3 to G")
    assert all(line.startswith(own) for line in done.stderr.splitlines()), done.stderr
