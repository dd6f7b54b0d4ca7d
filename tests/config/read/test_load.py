"""Loading: what a config becomes, and what every mistake is told as."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml

from byway.config import (
    Config,
    UnixPath,
    default,
    from_links,
    judge_of,
    load,
    load_text,
)
from byway.dialects.direct import DirectOutbound
from byway.dialects.forward import ForwardInbound
from byway.dialects.http import HttpOutbound
from byway.dialects.mixed import MixedInbound
from byway.dialects.socks import SocksOutbound
from byway.errors import ConfigError, Problem
from byway.flow import Network, Target
from byway.rules import DEFAULT, Drop, Prefix, Reject, Via

HERE = Path(__file__).parent


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "x.yaml")
    return caught.value.problems


def only(text: str) -> Problem:
    found = problems(text)
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]


def test_every_mistake_of_a_file_is_told_at_once_in_fixed_words() -> None:
    text = (HERE / "mistakes.yaml").read_text(encoding="utf-8")

    told = "\n".join(map(str, load_failing(text))) + "\n"

    assert told == (HERE / "mistakes.txt").read_text(encoding="utf-8")


def test_without_the_c_library_the_same_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)

    test_every_mistake_of_a_file_is_told_at_once_in_fixed_words()
    assert "nested deeper than" in only("[" * 1000).message


def load_failing(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "mistakes.yaml")
    return caught.value.problems


def test_without_a_file_a_mixed_proxy_on_loopback_sends_everything_direct() -> None:
    config = default()

    (inbound,) = config.inbounds.values()
    assert isinstance(inbound, MixedInbound)
    assert inbound.listen == (Target.parse("127.0.0.1:1080"),)
    assert config.outbounds == {"direct": DirectOutbound(type="direct")}
    assert judge_of(config).rules == ()


def test_values_become_what_the_program_works_with() -> None:
    config = load_text("""
limits: {handshake: 1.5s, head: 2KiB, flows: 70, drain: 0s}
inbounds:
  door:
    type: forward
    listen: ["[::1]:53", unix:/x.sock]
    target: Dns.Example.:53
    network: [tcp, udp]
outbounds:
  up: {type: socks, server: "10.0.0.1:1080", version: 4a, username: ann}
rules:
  - {ip: "::ffff:10.0.0.0/104", port: [80, 8000-8100], domain: WWW.bücher.example, to: up}
  - {source: fd00::1, to: drop}
  - otherwise: reject
""")

    assert config.limits.handshake == 1.5
    assert config.limits.head == 2048
    assert config.limits.flows == 70
    assert config.limits.drain == 0
    door = config.inbounds["door"]
    assert isinstance(door, ForwardInbound)
    assert door.listen == (Target.parse("[::1]:53"), UnixPath("/x.sock"))
    assert door.target == Target.parse("dns.example.:53")
    assert door.network == (Network.TCP, Network.UDP)
    up = config.outbounds["up"]
    assert isinstance(up, SocksOutbound)
    assert (up.version, up.username, up.password) == ("4a", "ann", None)
    first, second, last = config.rules
    assert first.ip == (Prefix.parse("10.0.0.0/8"),)
    assert first.port == ((80, 80), (8000, 8100))
    assert first.domain == ("www.xn--bcher-kva.example",)
    assert second.source == (Prefix.parse("fd00::1/128"),)
    assert last.way == "reject"


def test_a_rule_knows_its_file_its_line_and_itself() -> None:
    config = load_text(
        "rules:\n"
        "  - domain: [a.b, b.c, c.d, d.e]\n"
        "    to: http://u:geheim@h:1\n"
        "  - otherwise: drop\n",
        "x.yaml",
    )

    rules = judge_of(config).rules
    via, drop = rules[0].verdict, rules[1].verdict
    assert isinstance(via, Via)
    assert str(via.rule) == "x.yaml:2: domain: [a.b, b.c, c.d, 1 more], to: http://h:1"
    assert isinstance(drop, Drop)
    assert drop.rule.line == 4
    assert isinstance(config.outbounds[via.outbound], HttpOutbound)


def test_the_same_link_is_one_outbound_and_another_user_is_another() -> None:
    config = load_text("""
rules:
  - {port: 1, to: "http://u:p@h:1"}
  - {port: 2, to: "http://u:p@h:1"}
  - {port: 3, to: "http://v:p@h:1"}
  - {port: 4, to: "http://v:p@h:1#other"}
  - otherwise: direct
""")

    assert [rule.way for rule in config.rules] == [
        "http://h:1",
        "http://h:1",
        "http://h:1#2",
        "other",
        "direct",
    ]


def test_links_in_place_of_a_file_are_a_chain_in_the_order_of_travel() -> None:
    config = from_links(["socks5://10.0.0.1", "http://u:p%40@proxy.example:3128"])

    far = config.outbounds[config.rules[-1].way]
    assert isinstance(far, HttpOutbound)
    assert far.password is not None
    assert far.password.get_secret_value() == "p@"
    assert far.via is not None
    near = config.outbounds[far.via]
    assert isinstance(near, SocksOutbound)
    assert near.via is None


def test_wrong_links_in_place_of_a_file_are_all_told_without_their_secrets() -> None:
    with pytest.raises(ConfigError) as caught:
        from_links(["http://u:geheim@h:1/x", "direct", "http://u:geheim@h:999999"])

    text = str(caught.value)
    assert "link 1" in text
    assert "link 2" in text
    assert "geheim" not in text


def test_relative_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "byway.yaml"
    file.write_text("log: {file: a.log}\ninbounds: {a: {type: mixed, listen: unix:s.sock}}\n")

    config = load(file)

    assert config.log.file == str(tmp_path / "a.log")
    assert config.inbounds["a"].listen == (UnixPath(str(tmp_path / "s.sock")),)


@pytest.mark.parametrize(
    ("data", "line", "column", "message"),
    [
        (b"log: {}\nab: \xff", 2, 5, "is not UTF-8"),
        (b"\xef\xbb\xbflog: {}\n\xff", 2, 1, "is not UTF-8"),
        (b"", 1, 1, "is empty"),
        (b"# nothing but a comment\n", 1, 1, "is empty"),
        (b"log: {}\nx: \x01", 2, 4, "a character that YAML does not allow"),
    ],
)
def test_a_file_that_is_no_text(
    tmp_path: Path, data: bytes, line: int, column: int, message: str
) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(data)

    with pytest.raises(ConfigError) as caught:
        load(file)

    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.message) == (line, column, message)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        load(tmp_path)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbflog: {level: debug}\n")

    assert load(file).log.level == "debug"


def test_a_file_with_passwords_that_all_can_read_gets_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("outbounds: {a: http://u:p@h:1}\n")
    os.chmod(file, 0o604)
    assert "every user of this host can read it" in load(file).warnings[0].message
    os.chmod(file, 0o600)
    assert load(file).warnings == ()


MIXED = "inbounds: {a: {type: mixed, listen: %s}}"
OUT = "outbounds: {a: {type: socks, server: h:1}, b: {type: http, server: h:1}, %s}"


@pytest.mark.parametrize(
    ("text", "key", "message", "hint"),
    [
        ("[]", "", "expected a mapping of sections, got a list", "sections: log,"),
        ("text", "", "expected a mapping of sections, got text", "sections: log,"),
        ("rule: []", "rule", "unknown key", "did you mean rules?"),
        ("log: 1", "log", "expected a mapping, got a number", "its keys: level,"),
        ("log: {flows: yes}", "log.flows", "expected true or false, got text", "write true"),
        ("log: {level: warn}", "log.level", "cannot be 'warn'", "did you mean warning?"),
        ("log: {level: }", "log.level", "has no value", "add a value"),
        ("limits: {head: 4GiB}", "limits.head", "'4GiB' is out of bounds", "1KiB to 1MiB"),
        ("limits: {dial: 5 m}", "limits.dial", "'5 m' is not a duration", "500ms"),
        ("limits: {dial: 1h}", "limits.dial", "'1h' is out of bounds", "100ms to 10m"),
        ("limits: {udp_sessions: 1.5}", "limits.udp_sessions", "expected a whole number", ""),
        ("limits: {udp_sessions: '7'}", "limits.udp_sessions", "expected a whole number", ""),
        ("inbounds: {}", "inbounds", "there is none", "remove the key"),
        ("inbounds: []", "inbounds", "expected a mapping of names, got a list", "inbounds: {"),
        ("inbounds: {a: }", "inbounds.a", "expected a mapping, got nothing", "{type: mixed"),
        ("inbounds: {a<b: {type: http, listen: 127.0.0.1:1}}", "inbounds.a<b", "not a name", ""),
        ("inbounds: {a: {listen: 127.0.0.1:1}}", "inbounds.a", "type is missing", "one of mixed"),
        ("inbounds: {a: {type: http}}", "inbounds.a", "listen is missing", ""),
        (MIXED % "[]", "inbounds.a.listen", "the list is empty", "at least one"),
        (MIXED % "1080", "inbounds.a.listen", "expected address:port", "127.0.0.1:1080"),
        (MIXED % "'::1'", "inbounds.a.listen", "'::1' has no port", "[::1]:1080"),
        (MIXED % "'::1:80'", "inbounds.a.listen", "'::1:80' has no port", ""),
        (MIXED % "'fe80::1%eth0:80'", "inbounds.a.listen", "an IPv6 address needs brackets", ""),
        (MIXED % "'*:80'", "inbounds.a.listen", "has no address", "0.0.0.0:80"),
        (MIXED % "'unix:'", "inbounds.a.listen", "names no socket file", "unix:/run"),
        (MIXED % "{}", "inbounds.a.listen", "expected text, got a mapping", ""),
        (MIXED % "10.0.0.1:80", "inbounds.a.listen", "from other hosts", "open: true"),
        (OUT % "c: direct", "outbounds.c", "expected a mapping, got text", ""),
        (OUT % "c: {type: direct, via: a}", "outbounds.c.via", "unknown key", "known here"),
        (OUT % "c: {type: direct, bind: eth0}", "outbounds.c.bind", "is not an IP address", ""),
        (OUT % "c: {type: direct, mark: -1}", "outbounds.c.mark", "-1 is out of bounds", "0 to"),
        (OUT % "c: {type: http, server: h}", "outbounds.c.server", "'h' is not host:port", ""),
        (OUT % "c: {type: http, server: h:0}", "outbounds.c.server", "port 0 is not allowed", ""),
        (OUT % "c: {type: http, server: h:1, via: reject}", "outbounds.c.via", "is a verdict", ""),
        (OUT % "c: {type: http, server: h:1, via: c}", "outbounds.c.via", "c -> c", "no via"),
        (OUT % "direct: {type: http, server: h:1}", "outbounds.direct.type", "always of type", ""),
        (
            OUT % "c: {type: http, server: h:1, password: x}",
            "outbounds.c.password",
            "without a",
            "",
        ),
        (OUT % "c: {type: socks, server: h:1, version: 6}", "outbounds.c.version", "'6'", "5, 4a"),
        ("rules: {otherwise: direct}", "rules", "expected a list of rules, got a mapping", ""),
        ("rules: [{domain: a.b, to: direct}]", "rules[0]", "the last rule must be otherwise", ""),
        ("rules: [direct]", "rules[0]", "expected a mapping, got text", "its keys: domain"),
        ("rules: [{to: direct}, otherwise: drop]", "rules[0]", "the rule has no condition", ""),
        ("rules: [{port: 1}, otherwise: drop]", "rules[0]", "has no destination", ""),
        ("rules: [{port: 1, otherwise: drop}]", "rules[0].otherwise", "the only key", ""),
        ("rules: [{final: drop}]", "rules[0].final", "unknown key", "did you mean otherwise?"),
        ("rules: [{otherwise: Direct}]", "rules[0].otherwise", "no outbound 'Direct'", "direct?"),
        ("rules: [{ip: a.b, to: drop}, otherwise: drop]", "rules[0].ip", "not an IP prefix", ""),
        ("rules: [{ip: 1.2.3.4/33, to: drop}, otherwise: drop]", "rules[0].ip", "not an IP", ""),
        ("rules: [{domain: 1.2.3.4, to: drop}, otherwise: drop]", "rules[0].domain", "", "use ip"),
        ("rules: [{domain: a..b, to: drop}, otherwise: drop]", "rules[0].domain", "two dots", ""),
        ("rules: [{domain: ß.de, to: drop}, otherwise: drop]", "rules[0].domain", "ambiguous", ""),
        ("rules: [{port: 70000, to: drop}, otherwise: drop]", "rules[0].port", "70000 is not", ""),
        ("rules: [{user: ann, to: drop}, otherwise: drop]", "rules[0].user", "no user 'ann'", "no"),
        ("rules: [{network: icmp, to: drop}, otherwise: drop]", "rules[0].network", "'icmp'", ""),
        ("a: &x {b: *x}", "", "nothing that was anchored", "needs quotes"),
        ("log: !!python/name:os.system x", "", "tags (!) are not supported", ""),
        ("log: {<<: {level: info}}", "", "merge keys (<<) are not supported", "write the keys"),
        ("log: {}\n---\nlog: {}", "", "a second document", "one file"),
        ("? [a]\n: b", "", "a key must be plain text", ""),
        ("log:\n\tlevel: info", "", "a tab in the indent", "spaces"),
        ("a: {b: [::1]:80}", "", "not YAML", "needs quotes"),
        ("a: @b", "", "not YAML", "needs quotes"),
        ("a: 'b", "", "not YAML", "not closed"),
        ("a: b: c", "", "not YAML: mapping values", "needs quotes"),
    ],
)
def test_a_mistake_is_told_once_with_its_key_and_a_hint(
    text: str, key: str, message: str, hint: str
) -> None:
    problem = only(text)

    assert problem.key == key
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("log:\n  level: info\n  flow: true\n", 3, 3),
        ("inbounds:\n  a:\n    type: mixed\n    listen:\n      - 127.0.0.1:1\n      - x\n", 6, 9),
        ('log: {level: info, "format": xml}', 1, 30),
        ("log:\n  level: info\n  level: debug\n", 3, 3),
        ("inbounds:\n  a: {type: mixed}\n", 2, 6),
        ("outbounds:\n  a: &a {type: http, server: h}\n", 2, 30),
    ],
)
def test_places_are_exact(text: str, line: int, column: int) -> None:
    problem = only(text)

    assert (problem.line, problem.column) == (line, column)


def test_a_chain_that_never_leaves_names_its_hops() -> None:
    problem = only("""
outbounds:
  a: {type: http, server: h:1, via: b}
  b: {type: http, server: h:1, via: c}
  c: {type: http, server: h:1, via: b}
""")

    assert problem.message == "loop: b -> c -> b"
    assert (problem.line, problem.key) == (5, "outbounds.c.via")


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("0.0.0.0:1", "127.0.0.1:1", True),
        ("[::]:1", "127.0.0.1:1", False),
        ("[::]:1", "[::1]:1", True),
        ("[0:0::1]:1", "[::1]:1", True),
        ("unix:/a", "unix:/a", True),
        ("127.0.0.1:1", "127.0.0.2:1", False),
    ],
)
def test_an_address_can_be_listened_on_once(one: str, other: str, collide: bool) -> None:
    text = (
        "inbounds:\n"
        f"  a: {{type: mixed, open: true, listen: '{one}'}}\n"
        f"  b: {{type: mixed, open: true, listen: '{other}'}}\n"
    )

    if not collide:
        assert len(load_text(text).inbounds) == 2
        return
    problem = only(text)
    assert problem.key == "inbounds.b.listen"
    assert "in use, on line 2" in problem.message


def test_tcp_and_udp_do_not_take_each_others_ports() -> None:
    config = load_text("""
inbounds:
  a: {type: forward, listen: "127.0.0.1:53", target: "h:53", network: udp}
  b: {type: forward, listen: "127.0.0.1:53", target: "h:53"}
""")

    assert list(config.inbounds) == ["a", "b"]


@pytest.mark.parametrize(
    ("listen", "extra", "guarded"),
    [
        ("127.0.0.1:1", "", False),
        ("unix:/x", "", False),
        ("[127.0.0.1:1, '10.0.0.1:1']", "open: true", True),
        ("127.0.0.1:1", "allow_local: false", True),
        ("10.0.0.1:1", "open: true, allow_local: true", False),
    ],
)
def test_flows_from_other_hosts_are_kept_from_this_one(
    listen: str, extra: str, guarded: bool
) -> None:
    config = load_text(f"inbounds: {{a: {{type: mixed, listen: {listen}, {extra}}}}}")

    assert config.inbounds["a"].guarded is guarded


def test_the_traps_of_older_yaml_do_not_bite() -> None:
    config = load_text("""
inbounds:
  no: {type: socks, listen: unix:/x, users: [{name: on, password: off}, {name: 1:30, password: ~x}]}
  010: {type: forward, listen: unix:/y, target: "h:1"}
rules:
  - {port: 0010, user: [on, 1:30], inbound: [no, "010"], to: reject}
  - otherwise: direct
""")

    assert list(config.inbounds) == ["no", "010"]
    assert config.rules[0].port == ((10, 10),)
    assert config.rules[0].user == ("on", "1:30")


def test_an_alias_stands_for_its_value() -> None:
    config = load_text("""
inbounds:
  a: {type: socks, listen: unix:/x, users: &staff [{name: ann, password: p}]}
  b: {type: socks, listen: unix:/y, users: *staff}
""")

    assert config.inbounds["a"].users == config.inbounds["b"].users  # type: ignore[attr-defined]


def test_alias_bombs_and_deep_nests_are_refused_in_no_time() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    ladder = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100))

    assert "expand to more than" in only(bomb).message
    assert "nested deeper than" in only(ladder).message
    assert "nested deeper than" in only("a:\n" + "- " * 5000 + "x").message
    assert "nested deeper than" in only("[" * 1000).message


def test_a_section_without_content_counts_as_absent() -> None:
    assert load_text("rules:\nlog:\ninbounds:\n").model_dump() == default().model_dump()


def test_rules_that_cannot_decide_are_warned_of() -> None:
    config = load_text("""
outbounds: {web: {type: http, server: "h:1"}}
rules:
  - {domain_suffix: example.com, to: direct}
  - {ip: 10.0.0.0/8, to: direct}
  - {domain: www.example.com, port: 80, to: web}
  - {ip: [10.1.0.0/16, 10.2.0.0/16], to: web}
  - {ip: [10.1.0.0/16, 11.0.0.0/8], to: web}
  - {domain: wwwexample.com, to: web}
  - {network: udp, to: web}
  - otherwise: direct
""")

    assert [(warning.line, warning.message) for warning in config.warnings] == [
        (6, "unreachable: the rule on line 4 matches everything that this one matches"),
        (7, "unreachable: the rule on line 5 matches everything that this one matches"),
        (10, "this rule is for UDP, which 'web' does not support"),
    ]


def test_bytes_of_the_command_line_that_are_no_text_are_refused() -> None:
    for link in ("http://u\udcff:p@h:1", "http://u:p\udcff@h:1", "http://h\udcff:1"):
        with pytest.raises(ConfigError):
            from_links([link])
    assert "does not allow" in only("a: \ud800").message


def test_no_rules_mean_direct() -> None:
    judge = judge_of(load_text("rules: []"))

    assert judge.rules == ()
    assert Via("direct", DEFAULT.rule) == DEFAULT


def test_ten_thousand_rules_load_within_seconds() -> None:
    lines = [
        f"  - {{domain_suffix: h{n}.example, port: [80, 443], to: drop}}" for n in range(10_000)
    ]
    text = "\n".join(["rules:", *lines, "  - otherwise: reject", ""])

    began = time.process_time()
    config = load_text(text)

    assert time.process_time() - began < 10  # measured: 0.8
    assert len(config.rules) == 10_001
    assert isinstance(judge_of(config).rules[-1].verdict, Reject)


def test_a_config_does_not_show_its_secrets() -> None:
    config: Config = load_text("""
inbounds: {a: {type: mixed, listen: unix:/x, users: {name: ann, password: geheim}}}
outbounds: {b: {type: socks, server: "h:1", username: u, password: geheim}, c: http://u:geheim@h:1}
rules: [{port: 1, to: "http://u:geheim@i:1"}, otherwise: "socks5://u:geheim@j:1"]
""")

    shown = [repr(config), str(config), config.model_dump_json(), repr(judge_of(config).rules)]
    assert not any("geheim" in text for text in shown)


def test_names_in_any_script_are_one_form() -> None:
    """What macOS writes decomposed is the same name (UAX 15)."""
    decomposed, composed = "cafe\u0301", "caf\u00e9"
    config = load_text(f"""
outbounds: {{{decomposed}: {{type: http, server: "h:1"}}}}
groups: {{节点选择: {{type: select, members: [{composed}, direct], default: {decomposed}}}}}
sets: {{广告: {{items: [ads.example]}}}}
rules: [{{set: 广告, to: reject}}, {{domain: a.example, to: {decomposed}}}, {{otherwise: 节点选择}}]
""")
    assert set(config.outbounds) == {composed, "direct"}
    assert config.rules[1].way == composed
    assert config.groups["节点选择"].members == (composed, "direct")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("outbounds: {ｄｉｒｅｃｔ: {type: direct}}", "outbounds.ｄｉｒｅｃｔ"),
        (
            "outbounds: {♻: {type: direct}}\ngroups: {♻️: {type: select, members: direct}}",
            "groups.♻️",
        ),
        ("sets: {арр: {items: a.example}, app: {items: a.example}}", "sets.app"),
    ],
)
def test_names_that_look_alike_are_refused(text: str, key: str) -> None:
    problem = only(text)
    assert problem.key == key
    assert "looks like the other name" in problem.message
