"""Links on the command line: what others see of them, and the ways to keep them out of sight."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from byway.cli.words import hide_links, with_links_read

SECRET = "socks5://ann:geheim@192.0.2.1:1080"
COMMAND = [sys.executable, "-m", "byway"]


@pytest.mark.parametrize("words", [["run", SECRET], ["run", "@links"], ["run", "-"]])
def test_no_password_is_among_the_arguments_of_a_running_byway(
    tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "links").write_text(f"# mine\n\n{SECRET}\n")
    (tmp_path / "config").write_text("")
    with subprocess.Popen(
        [*COMMAND, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, cwd=tmp_path, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            process.stdin.write(SECRET)
            process.stdin.close()
            said = process.stdout.readline() + process.stderr.readline()
            seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        finally:
            process.terminate()
            process.stdout.read()
    assert b"geheim" not in seen
    assert b"192.0.2.1" not in seen
    assert seen.startswith(os.fsencode(sys.executable) + b"\0-m\0byway\0run\0")
    if "://" in words[1]:
        assert seen.split(b"\0")[4].rstrip() == b"socks5://***"
    assert "not a link" not in said


def test_only_what_follows_a_scheme_is_hidden() -> None:
    program = (
        "import sys; from byway.cli.words import hide_links; print(hide_links());"
        " print(open('/proc/self/cmdline').read())"
    )
    words = ["probe", "--via=http://a:b@c", "ss://x", "plain", "a://"]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=200,
    )  # fmt: skip
    done_words = done.stdout.partition("\n")[2].strip().split("\0")
    assert done.stdout.startswith("True")
    shown = [word.rstrip() for word in done_words[3:8]]
    assert shown == ["probe", "--via=http://***", "ss://*", "plain", "a://"]


def test_a_system_that_hides_nothing_is_known(tmp_path: Path) -> None:
    assert not hide_links(str(tmp_path))


def test_links_are_read_where_the_words_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a://1\n#x\n b://2 \n")))
    (tmp_path / "links").write_text("c://3\n")
    assert with_links_read(["x://0", "-", f"@{tmp_path}/links"]) == [
        "x://0", "a://1", "b://2", "c://3",
    ]  # fmt: skip
    (tmp_path / "links").write_text("# none\n")
    with pytest.raises(ValueError, match="there is not a link in"):
        with_links_read([f"@{tmp_path}/links"])
    with pytest.raises(FileNotFoundError):
        with_links_read([f"@{tmp_path}/none"])
