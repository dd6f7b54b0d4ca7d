"""What the READMEs show works as shown, and both languages show the same."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from byway.cli.verbs import parser
from byway.config import check_report, load_text

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDE = DOCS / "guide" / "python.md"
START = DOCS / "guide" / "start.md"
PAIRS = [
    (ROOT / "README.md", ROOT / "README.zh-CN.md"),
    *((DOCS / "guide" / page.name, page) for page in sorted((DOCS / "zh-CN").glob("*.md"))),
]
"""The pages that there are in English and in Chinese."""
LIMIT = 30.0  # seconds for a program that starts a Byway and ends

FETCH = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
    print(answer.read().decode())
"""

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def without_comments(block: str) -> str:
    """A YAML block as it is read."""
    return re.sub(r" +#.*", "", block)


def configs() -> list[tuple[str, str]]:
    return [
        (f"{page.parent.name}-{page.stem}-{at}", block)
        for pair in PAIRS
        for page in pair
        for at, block in enumerate(blocks(page, "yaml"))
    ]


@pytest.mark.parametrize(("name", "text"), configs(), ids=[name for name, _ in configs()])
def test_a_config_of_the_readme_loads(name: str, text: str) -> None:
    odd = [odd.message for odd in load_text(text, name).warnings]
    assert all("this key is printed in the manual" in message for message in odd)


def test_the_check_shown_is_what_check_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop = blocks(START, "yaml")[1]
    file = tmp_path / "byway.yaml"
    file.write_text(laptop.replace("domain_suffix", "domain_sufix", 1), encoding="utf-8")
    file.chmod(0o600)

    monkeypatch.chdir(tmp_path)
    said = check_report(file, file.name).human()

    (shown,) = (block for block in blocks(START, "console") if "byway check" in block)
    pattern = re.escape(shown.removeprefix("$ byway check -c byway.yaml\n"))
    assert re.fullmatch(pattern.replace(re.escape("..."), ".*"), said + "\n")


def quiet() -> dict[str, str]:
    """This environment without proxy settings of the machine's own."""
    return {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}


async def ran(program: str, folder: Path, *arguments: str) -> str:
    """What a program prints; it must end well and complain of nothing."""
    file = folder / "by.py"
    file.write_text(program, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(file), *arguments),
        env=quiet(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(LIMIT):
        output, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    return output.decode()


async def test_the_program_of_the_guide_runs(tmp_path: Path) -> None:
    (program,) = blocks(START, "python")
    url, origin = await serve_hello()
    async with origin:
        told = await ran(program, tmp_path, sys.executable, "-c", FETCH, url)

    place = re.escape(url.removeprefix("http://").rstrip("/"))
    assert "hello" in told
    assert re.search(rf"^{place} by direct [1-9]\d* [1-9]\d* \w+$", told, re.MULTILINE)


def shown() -> list[tuple[str, str]]:
    """Each program of the guide with the output that stands below it."""
    return list(zip(blocks(GUIDE, "python"), blocks(GUIDE, "text"), strict=True))


@pytest.mark.parametrize(("program", "output"), shown(), ids=range(len(shown())))
async def test_a_program_of_the_guide_prints_what_is_shown(
    program: str, output: str, tmp_path: Path
) -> None:
    assert await ran(program, tmp_path) == output


async def serve_hello() -> tuple[str, asyncio.Server]:
    """A web server that answers everything with five bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", server


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].stem)
@pytest.mark.parametrize("language", ["console", "yaml", "python", "text"])
def test_both_languages_show_the_same(language: str, pair: tuple[Path, Path]) -> None:
    english, chinese = (
        [without_comments(block) for block in blocks(page, language)] for page in pair
    )

    assert english == chinese


def test_the_pages_show_something() -> None:
    assert all(blocks(page, language) for page in PAIRS[0] for language in ("console", "yaml"))
    assert len(PAIRS) > 3


@pytest.mark.parametrize("folder", ["guide", "zh-CN"])
def test_a_page_names_every_command(folder: str) -> None:
    text = (DOCS / folder / "commands.md").read_text(encoding="utf-8")
    verbs = re.findall(r"^ +([a-z]+)  ", parser().format_help(), re.MULTILINE)

    assert "run" in verbs
    for verb in verbs:
        assert f"| `byway {verb}" in text, verb


FIGURES = re.compile(
    r"^\| \[.*?\]\((.*?)\).*?\| ([\d.,]+) \| ([\d.,]+) \| ([\d.,]+×) \|$", re.MULTILINE
)


@pytest.mark.parametrize("page", PAIRS[0], ids=lambda page: page.name)
def test_the_figures_of_the_readme_are_in_their_reports(page: Path) -> None:
    rows = FIGURES.findall(page.read_text(encoding="utf-8"))

    assert len(rows) == 8
    for report, *figures in rows:
        assert f"| {' | '.join(figures)} |" in (ROOT / report).read_text(encoding="utf-8")


def test_the_index_leads_to_every_page() -> None:
    linked = re.findall(r"\]\(([^)#\s]+)\)", (DOCS / "README.md").read_text(encoding="utf-8"))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}

    assert pages - {"README.md"} <= set(linked)
