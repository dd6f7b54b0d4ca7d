"""What a newcomer types: files without -c, subscriptions, other programs' configs, wrong verbs."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from byway.cli import main

CLASH = "mixed-port: 7890\nproxies:\n  - {<<: *d, name: a, type: ss}\nrules: ['MATCH,a']\n"
SING_BOX = json.dumps({"inbounds": [], "outbounds": [{"type": "direct", "tag": "d"}]}, indent="\t")
XRAY = json.dumps({"inbounds": [], "outbounds": [{"protocol": "freedom"}]})
SUBSCRIPTION = base64.b64encode(b"ss://YWVzLTEyOC1nY206eA==@h.example:1#a\n" * 3).decode()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("verb", [["check"], ["run"], ["check", "-c"], ["run", "-c"]])
@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("clash.yaml", CLASH, "a Clash config"),
        ("clash.yaml", "port: 7890\nproxies: []\n", "a Clash config"),
        ("sing.json", SING_BOX, "a sing-box config"),
        ("sing.json", "// of mine\n" + SING_BOX, "a sing-box config"),
        ("xray.json", XRAY, "an Xray or V2Ray config"),
        ("links.txt", "ss://YTpi@h.example:1#a\ntrojan://x@h.example:2\n", "a list of links"),
        ("sub.txt", SUBSCRIPTION, "a subscription in base64"),
    ],
)
def test_the_config_of_another_program_is_told_to_be_one(
    verb: list[str], name: str, text: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).write_text(text)
    assert main([*verb, name]) == 1
    told = capsys.readouterr()
    assert f"is {kind}, not one of Byway's" in told.out + told.err
    assert f"byway import {name} -o byway.yaml" in told.out + told.err


@pytest.mark.parametrize("verb", [["check"], ["run"]])
@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("surge.conf", b"[General]\nloglevel = notify\n[Proxy]\na = ss, h, 1\n", "Surge"),
        ("wg.conf", b"[Interface]\nPrivateKey = x\n[Peer]\n", "a config of WireGuard"),
        ("rules.yaml", b"payload:\n  - DOMAIN,a.example\n", "a rule provider of Clash"),
        ("rules.json", b'{"version": 1, "rules": [{"domain": ["a"]}]}', "a rule set of sing-box"),
        ("trojan.json", b'{"run_type": "client", "remote_addr": "h"}', "a config of trojan"),
        ("page.html", b"<html><body>gone</body></html>", "a web page"),
        ("old.json", b'{"inbound": {"protocol": "socks"}, "outbound": {}}', "V2Ray or Xray"),
        ("set.srs", b"SRS\x01\0abc", "sing-box's binary form (srs)"),
        ("byway", b"\x7fELF\0\0", "is a program"),
        ("wide.yaml", "log: {}".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_file_that_nobody_here_reads_is_named(
    verb: list[str], name: str, data: bytes, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).write_bytes(data)
    assert main([*verb, name]) == 1
    told = capsys.readouterr()
    assert kind in told.out + told.err


def test_an_own_config_with_a_wrong_key_is_still_ours(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("proxies: {a: direct}\noutbounds: {}\n")
    assert main(["check", "c.yaml"]) == 1
    assert "did you mean outbounds?" in capsys.readouterr().out


def test_check_takes_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("rules: [{otherwise: direct}]\n")
    assert main(["check", "c.yaml"]) == 0
    assert "c.yaml is valid" in capsys.readouterr().out
    assert main(["check", "c.yaml", "-c", "c.yaml"]) == 2


def test_run_takes_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("inbounds: 7\n")
    assert main(["run", "c.yaml"]) == 1
    assert "c.yaml:1:11: inbounds: expected a mapping" in capsys.readouterr().err
    assert main(["run", "gone.yaml"]) == 1
    assert "cannot be read: no such file" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "check"])
@pytest.mark.parametrize(
    "address", ["https://sub.example/api?token=geheim", "https://u:geheim@sub.example",
                "http://sub.example/geheim"],
)  # fmt: skip
def test_a_subscription_is_to_be_imported(
    verb: str, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, address]) == 1
    told = capsys.readouterr().err
    assert "://sub.example is not a config file" in told
    assert "byway import URL" in told
    assert "geheim" not in told


def test_a_link_is_no_config_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "socks5://ann:geheim@h.example:1080"]) == 1
    told = capsys.readouterr().err
    assert "socks5://h.example:1080 is not a config file" in told
    assert "byway run LINK" in told
    assert "geheim" not in told


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["runn"], "did you mean run?"),
        (["chekc"], "did you mean check?"),
        (["stats"], "did you mean status?"),
        (["xyzzy"], "verbs: run, check"),
        (["c.yaml"], "byway run c.yaml"),
        (["socks5://u:geheim@h:1"], "byway run LINK"),
    ],
)
def test_a_word_that_is_no_verb(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "is not a verb" in told
    assert hint in told
    assert "geheim" not in told


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--versoin"], "did you mean --version?"),
        (["run", "--confg", "x"], "did you mean --config?"),
        (["check", "--confg=x"], "did you mean --config?"),
        (["run", "--sytem-proxy"], "did you mean --system-proxy?"),
        (["status", "--jsno"], "did you mean --json?"),
        (["system-proxy", "onn"], "did you mean on?"),
        (["rules", "of", "1"], "did you mean off?"),
        (["env", "--shell", "bsh"], "did you mean bash?"),
        (["check", "a.yaml", "b.yaml"], "one word too many: b.yaml"),
        (["status", "socks5://u:geheim@h:1"], "one word too many: socks5"),
        (["run", "--token=geheim"], "there is no option --token"),
    ],
)
def test_an_option_or_a_choice_that_is_none(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert hint in told.err
    assert "Traceback" not in told.err
    assert "geheim" not in told.err


def test_without_a_word_the_verbs_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr()
    assert "run a config in the foreground" in told.out
    assert told.err == ""
