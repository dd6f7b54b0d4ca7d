"""The demo is played whole, and its way of telling is pinned."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys

import pytest

from byway.lab.telling import Teller


@pytest.mark.lab
@pytest.mark.skipif(importlib.util.find_spec("byway._engine") is None, reason="no engine built")
def test_every_act_goes_as_expected(possible: None) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    words = [sys.executable, "-m", "byway.lab.demo"]
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\033" not in done.stdout
    assert "0 not" in done.stdout


def told() -> tuple[Teller, io.StringIO]:
    out = io.StringIO()
    return Teller(out), out


def test_the_table_is_the_verdict() -> None:
    tell, out = told()
    tell.check("one", "a page", "a page", good=True)
    tell.skip("two", "no such program")
    assert tell.table()
    tell.check("three", "a page", "nothing", good=False)
    assert not tell.table()
    assert "1 as expected, 1 not, 1 skipped" in out.getvalue()
    assert "✗ three" in out.getvalue()


def test_nothing_tried_is_no_success() -> None:
    tell, _ = told()
    tell.skip("all", "nothing is installed")
    assert not tell.table()


def test_what_comes_from_the_network_cannot_drive_the_terminal() -> None:
    tell, out = told()
    tell.output("\033[2Jgone\x07")
    tell.command("laptop", ["curl", "a b"], {"http_proxy": "http://x"})
    assert "·[2Jgone·" in out.getvalue()
    assert "laptop$ http_proxy=http://x curl 'a b'" in out.getvalue()


def test_long_outputs_are_cut() -> None:
    tell, out = told()
    tell.output("\n".join(["line"] * 50))
    assert "more lines" in out.getvalue()
    assert out.getvalue().count("line") < 15
