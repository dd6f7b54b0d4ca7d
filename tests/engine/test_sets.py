"""The engine's sets answer as the plain tables do, and their cache holds what was read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byway.config import load_text, open_sets
from byway.engine import EngineLists
from byway.engine.sets import FORMS
from byway.flow import Flow, Network, Target
from byway.rules import Facts
from byway.rules.large import contents_of
from byway.rules.lists import gather

labels = st.sampled_from(["a", "b", "ab", "com", "7", "x" * 64, "ü", ""])
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
prefixes = st.sampled_from(
    ["10.0.0.0/8", "10.1.2.3", "10.1.0.0/15", "fd00::/8", "::1", "1.2.3.4/33"]
)
words = st.one_of(names, prefixes, st.sampled_from(["keyword:b", "localhost", "payload:", "#"]))
forms = {
    "lines": ["{}", "={}", ".{}", "*.{}", "+.{}", "{} # x", ";{}", "\t{}.\r"],
    "clash": ["{}", "- '{}'", '  - "{}"', "- {} # x", "DOMAIN,{}", "DOMAIN-SUFFIX,{}", "+.{}",
              "- IP-CIDR,{}", "IP-CIDR,{},no-resolve", "DOMAIN-KEYWORD,{}", "-{}",
              "NOT,((DOMAIN,{}))"],
    "hosts": ["0.0.0.0 {}", "127.0.0.1\t{} b.com", ":: {}#x", "10.0.0.1 {}", "{}", "0.0.0.0"],
    "dnsmasq": ["server=/{}/192.0.2.1", "address=/{}/b.com/", "local=/*{}/", "#{}", "server=/{}",
                "ipset=/{}/x", "cache-size=1", "{}", "server=192.0.2.1", "address=//{}/"],
    "unpacked": ["{}", "={}", ".{}", "adguard:||{}^", "adguard:{}", "regex:{}", "keyword:{}",
                 '{{"domain": ["{}"], "port": 80}}', "{{", "*.{}"],
    "adblock": ["||{}^", "@@||{}^", "|{}^", "{}", "!{}", "0.0.0.0 {}", "||{}^$important", "||*{}^"],
}  # fmt: skip
texts = {
    form: st.lists(
        st.builds(str.format, st.sampled_from(shapes), words) | st.text(max_size=10), max_size=8
    ).map("\n".join)
    for form, shapes in forms.items()
}
targets = st.sampled_from(
    ["a", "com", "a.com", "b.a.com", "x.b.a.com", "ab.b", "localhost", "10.1.2.3", "10.9.9.9",
     "fd00::1", "::1", "xn--tda.com", "7.a"]
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_the_engine_reads_a_list_as_python_does(form: str, data: st.DataObject) -> None:
    text = data.draw(texts[form])
    plain = gather(form, text)
    slow = plain.contents()
    fast, bad = contents_of(EngineLists.read(text.encode(), form), form)

    assert bad == plain.bad
    for host in data.draw(st.lists(targets, min_size=3)):
        for facts in (Facts(), Facts(()), Facts((bytes([10, 1, 2, 3]),))):
            flow = Flow(1, Network.TCP, "mixed", None, Target.of(host, 443))
            assert fast.match(flow, facts) == slow.match(flow, facts)
            one, other = fast.place(flow, facts), slow.place(flow, facts)
            assert (one is None) == (other is None)


def test_what_is_no_form_is_refused() -> None:
    with pytest.raises(ValueError, match="form"):
        EngineLists.read(b"", "csv")


def many(count: int) -> bytes:
    return b"".join(b"host-%d.some-site-%d.example\n" % (at % 7, at) for at in range(count))


def test_many_names_cost_little() -> None:
    lists = EngineLists.read(many(200_000), "lines")
    names, _, _, size = lists.sizes
    assert names == 200_000
    assert size / names < 64  # measured: 46; the text of each is 32

    asked = [f"www.host-{at % 7}.some-site-{at}.example" for at in range(0, 200_000, 10)]
    began = time.process_time()
    assert all(map(lists.has_name, asked))
    assert (time.process_time() - began) / len(asked) < 20e-6  # measured: below 1
    assert not lists.has_name("host-1.some-site-2.example")
    assert lists.name_place(asked[1]) == (11, "host-3.some-site-10.example")


def test_a_large_list_is_kept_until_its_file_changes(tmp_path: Path) -> None:
    source, cache = tmp_path / "list.txt", tmp_path / "cache" / "sets"
    source.write_bytes(many(50_000) + b"keyword:track\na b\n")
    text = f"sets: {{big: {{type: file, path: {source}}}}}\nrules: [{{otherwise: direct}}]\n"
    config = load_text(text)

    def opened() -> tuple[int, list[int]]:
        found = open_sets(config, cache)
        return len(found.sets["big"].contents), [problem.line for problem in found.problems]

    assert opened() == (50_001, [50_002])
    (kept,) = cache.iterdir()
    first = kept.stat().st_mtime_ns
    assert opened() == (50_001, [50_002])
    assert kept.stat().st_mtime_ns == first

    kept.write_bytes(kept.read_bytes()[:-1])
    assert opened() == (50_001, [50_002])

    source.write_bytes(many(50_001))
    assert opened() == (50_001, [])
    assert [path.name for path in cache.iterdir()] == [kept.name]
    assert os.stat(cache).st_mode & 0o077 == 0


def test_a_cache_that_cannot_be_written_keeps_nothing_from_starting(tmp_path: Path) -> None:
    source = tmp_path / "list.txt"
    source.write_bytes(many(50_000))
    (tmp_path / "file").touch()
    text = f"sets: {{big: {{type: file, path: {source}}}}}\nrules: [{{otherwise: direct}}]\n"

    assert len(open_sets(load_text(text), tmp_path / "file" / "x").sets["big"].contents) == 50_000
