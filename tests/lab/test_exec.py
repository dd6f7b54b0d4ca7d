"""One command inside, as root and as a user who may do nothing else: real curl and dig."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from byway.lab import Host, Lab, serve_echo, serve_web
from tests.lab.test_diverted import FAMILIES, place

pytestmark = pytest.mark.lab

CONFIG = """
inbounds: {mixed: {type: mixed, listen: "127.0.0.1:1"}}
rules:
- {inbound: exec, port: 81, to: reject}
- {inbound: exec, to: direct}
- {otherwise: reject}
"""
# A user without rights, who may read what this test's user may (Python may stand in its home).
NOBODY = """
mknod -m 666 "$0" c 10 200 && mount --bind "$0" /dev/net/tun && rm "$0"
exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all,+dac_read_search \
  --ambient-caps=-all,+dac_read_search --bounding-set=-all,+dac_read_search "$@"
"""


@dataclass
class Ground:
    """laptop - internet - site."""

    laptop: Host
    site: Host
    before: list[str]

    def inside(self, *words: str, stdin: str = "") -> tuple[int, str]:
        config = str(self.laptop.lab.directory / "exec.yaml")
        command = [*self.before, "byway", "exec", "-c", config, "--", *words]
        done = self.laptop.run(command, stdin=stdin, timeout=60)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module", params=["root", "nobody"])
def ground(request: pytest.FixtureRequest, possible: None) -> Iterator[Ground]:
    if request.param == "nobody" and os.geteuid() != 0:
        pytest.skip("making a node for a TUN needs root")
    with Lab() as lab:
        laptop, internet, site = lab.host("laptop"), lab.router("internet"), lab.host("site")
        for host in (laptop, site):
            lab.link(internet, host)
        lab.resolver(internet)
        serve_web(site, "site.example", title="The Site")
        serve_echo(site, 7)
        lab.settle()
        (lab.directory / "exec.yaml").write_text(CONFIG)
        lab.directory.chmod(0o755)
        node = str(lab.directory / "tun")
        nobody = ["unshare", "--mount", "sh", "-c", NOBODY, node, "env", "HOME=/nonexistent"]
        yield Ground(laptop, site, nobody if request.param == "nobody" else [])


@pytest.mark.parametrize("family", FAMILIES)
def test_its_connections_go_by_byway(ground: Ground, family: str) -> None:
    code, page = ground.inside(
        "curl", "-sS", "-m", "15", f"http://{place(ground.site, family, 80)}/"
    )
    assert (code, "The Site" in page) == (0, True), page
    code, said = ground.inside(
        "curl", "-sS", "-m", "15", f"http://{place(ground.site, family, 81)}/"
    )
    assert code == 7, said


def test_its_names_are_answered_by_byway(ground: Ground) -> None:
    code, page = ground.inside("curl", "-sS", "-m", "15", "http://site.example/")
    assert (code, "The Site" in page) == (0, True), page
    code, said = ground.inside("dig", "+short", "+time=5", "site.example", "A")
    assert (code, said.strip()) == (0, ground.site.address4)
    code, said = ground.inside("dig", "+short", "+time=5", "@192.0.2.53", "site.example", "AAAA")
    assert (code, said.strip()) == (0, ground.site.address6)


def test_the_command_is_as_it_would_be(ground: Ground) -> None:
    assert ground.inside("sh", "-c", "exit 7")[0] == 7
    assert ground.inside("sh", "-c", "kill -TERM $$")[0] == 128 + signal.SIGTERM
    assert ground.inside("cat", stdin="from a pipe") == (0, "from a pipe")
    uid = "65534" if ground.before else "0"
    assert ground.inside("id", "-u") == (0, f"{uid}\n")
    code, said = ground.inside("no-such-program")
    assert code in (126, 127), said  # nobody may not look into every folder of the path
    assert said.startswith("byway: ")


def test_nothing_is_changed_outside(ground: Ground) -> None:
    def seen() -> list[str]:
        asked = ["address", "rule", "route show table all", "-6 route show table all"]
        return [ground.laptop.run(["ip", *words.split()]).stdout for words in asked]

    before = seen()
    code, said = ground.inside("ip", "-brief", "address")
    assert code == 0, said
    assert "byway" in said
    assert "eth0" not in said
    assert seen() == before


TRAP = 'sleep 60 & trap "kill $!; exit 9" {}; echo begun; wait'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_signals_are_handed_through(ground: Ground, number: signal.Signals) -> None:
    command = TRAP.format(number.name.removeprefix("SIG"))
    assert ended_by(ground, command, lambda pid: os.kill(pid, number)) == 9


def test_an_interrupt_at_the_terminal_ends_the_command_as_it_will(ground: Ground) -> None:
    def interrupt(pid: int) -> None:
        os.killpg(pid, signal.SIGINT)  # to the foreground's processes, as a terminal does

    assert ended_by(ground, TRAP.format("INT"), interrupt) == 9
    assert ended_by(ground, "echo begun; exec sleep 60", interrupt) == 128 + signal.SIGINT


def ended_by(ground: Ground, command: str, signalled: Callable[[int], None]) -> int:
    config = str(ground.laptop.lab.directory / "exec.yaml")
    # Whoever runs the tests may ignore signals (nohup, a job in the background).
    words = [
        "env",
        "--default-signal",
        *ground.before,
        "byway",
        "exec",
        "-c",
        config,
        "--",
        "sh",
        "-c",
        command,
    ]
    running = ground.laptop.start(words, ready="begun")
    signalled(running.pid)
    return running.wait(30)


def test_its_children_are_inside_too(ground: Ground) -> None:
    site = f"http://{ground.site.address4}/"
    script = f"curl -sS -m 15 {site} & curl -sS -m 15 {site}; wait $! && sh -c 'exit 5'"
    code, said = ground.inside("sh", "-c", script)
    assert (code, said.count("<title>The Site")) == (5, 2), said
