"""`byway link` and `byway password`, as a person runs them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from byway.cli import main
from byway.config import read_link
from byway.protocols.shadowsocks import METHODS
from byway.protocols.shadowsocks2022 import keys_of

CONFIG = """
inbounds:
  vps: {type: shadowsocks, listen: "0.0.0.0:8388", method: aes-128-gcm, password: geheim}
  lan:
    type: socks
    listen: "192.0.2.1:1080"
    users: [{name: ann, password: x}, {name: bob, password: y}]
outbounds:
  far: {type: trojan, server: "h.example:443", password: geheim}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The path of a config."""
    file = tmp_path / "byway.yaml"
    file.write_text(CONFIG)
    return str(file)


def test_an_outbound(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link", "far", "-c", config]) == 0
    assert capsys.readouterr().out == "trojan://geheim@h.example:443#far\n"


def test_an_inbound_with_its_code(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link", "vps", "-c", config, "--host", "vps.example", "--qr"]) == 0
    link, _, code = capsys.readouterr().out.partition("\n")
    assert read_link(link).outbound["server"] == "vps.example:8388"
    assert code.count("█") > 100


def test_each_user(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link", "lan", "-c", config]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0::2] == ["lan-ann:", "lan-bob:"]
    assert lines[3] == "socks5://bob:y@192.0.2.1:1080#lan-bob"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vps"], "add --host with the address"),
        (["nobody"], "known here: vps, lan, far, direct"),
        (["direct"], "has no link"),
    ],
)
def test_no_link(
    words: list[str], message: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["link", *words, "-c", config]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("method", [name for name in METHODS if name.startswith("2022-")])
def test_a_key(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["password", method]) == 0
    first = capsys.readouterr().out.strip()
    assert main(["password", method]) == 0
    assert capsys.readouterr().out.strip() != first
    assert len(keys_of(METHODS[method], first)) == 1


@pytest.mark.parametrize("method", ["aes-256-gcm", "trojan"])
def test_a_password(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["password", method]) == 0
    assert len(base64.urlsafe_b64decode(capsys.readouterr().out.strip())) == 24


def test_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["password", "rc4-md5"]) == 1
    said = capsys.readouterr().err
    assert "stream cipher" in said
    assert "hint: use 2022-blake3-aes-128-gcm" in said
    assert main(["password", "geheim"]) == 1
    said = capsys.readouterr().err
    assert said.count("aes-256-gcm") == 2  # it, and the one of 2022
    assert said.endswith(", vless\n")
