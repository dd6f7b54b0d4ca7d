"""`byway env`: what real shells make of its lines."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from byway.cli.env import NAMES, lines, variables
from byway.config import load_text

PASSWORD = "it's $HOME; `x` \\ \" ’ %&@:/é"
CONFIG = """
inbounds:
  plain: {type: socks, listen: 127.0.0.1:1}
  home: {type: mixed, listen: 127.0.0.1:0}
  web: {type: http, listen: "[::1]:3", users: [{name: ann, password: %s}]}
""" % ("'" + PASSWORD.replace("'", "''") + "'")


def test_the_best_inbound_is_taken_with_its_real_port() -> None:
    found = variables(load_text(CONFIG), None, None, {"home": ["127.0.0.1:4321"]})
    assert found == {
        "http_proxy": "http://127.0.0.1:4321",
        "https_proxy": "http://127.0.0.1:4321",
        "all_proxy": "socks5h://127.0.0.1:4321",
        "no_proxy": "localhost,127.0.0.1,::1",
    }
    assert variables(load_text(CONFIG), "plain", None, {})["http_proxy"] == "socks5h://127.0.0.1:1"
    web = variables(load_text(CONFIG), "web", "ann", {})["all_proxy"]
    assert web.startswith("http://ann:it%27s%20")
    assert web.endswith("@[::1]:3")


@pytest.mark.parametrize(
    ("name", "user", "why"),
    [
        (None, None, "is Byway running"),
        ("web", None, "add --user"),
        ("web", "bob", "no user 'bob'"),
        ("nothing", None, "no mixed, http or socks inbound"),
    ],
)
def test_what_cannot_be_said_is_told(name: str | None, user: str | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        variables(load_text(CONFIG), name, user, {})


@pytest.mark.parametrize(
    ("shell", "program", "show"),
    [
        ("bash", ["bash", "-c"], 'printf %s "$ALL_PROXY"'),
        ("bash", ["sh", "-c"], 'printf %s "$all_proxy"'),
        ("fish", ["fish", "-c"], 'printf %s "$ALL_PROXY"'),
        ("powershell", ["pwsh", "-NoProfile", "-Command"], "[Console]::Write($Env:all_proxy)"),
    ],
)
def test_a_shell_reads_what_was_meant(shell: str, program: list[str], show: str) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    values: dict[str, str | None] = dict.fromkeys(NAMES, PASSWORD)
    script = "\n".join([*lines(shell, values), show])
    done = subprocess.run([*program, script], capture_output=True, timeout=30)
    assert done.stdout.decode() == PASSWORD, done.stderr
    script = "\n".join([*lines(shell, values), *lines(shell, dict.fromkeys(NAMES)), show])
    done = subprocess.run([*program, script], capture_output=True, timeout=30)
    assert done.stdout == b""


def test_the_dangerous_variable_is_left_out() -> None:
    assert not any("HTTP_PROXY=" in line for line in lines("bash", {"http_proxy": "x"}))
