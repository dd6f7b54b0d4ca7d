"""Record `byway why` and `byway flows` in the lab, and draw the terminal: docs/terminal.svg.

    make picture

The network is one of namespaces (`byway.lab`): a laptop and a server that run Byway, and hosts
that echo. So names, ports and byte counts are the same each time, and `masked` hides the rest.
"""

from __future__ import annotations

import html
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from fcntl import ioctl
from pathlib import Path

from byway.lab import Host, Lab, Unavailable

PICTURE = Path(__file__).parents[1] / "docs" / "terminal.svg"
COLUMNS, ROWS = 112, 40
VERBS = (("why", "wiki.example"), ("flows",))

CLIENT = """\
inbounds:
  home: {type: mixed, listen: 127.0.0.1:1080}
outbounds:
  vps: {type: shadowsocks, server: vps.example:8388, method: aes-128-gcm, password: correct-horse}
rules:
  - {domain_suffix: ads.example, to: reject}
  - {domain_suffix: office.example, to: direct}
  - otherwise: vps
control: {socket: SOCKET}
"""
SERVER = """\
inbounds:
  vps: {type: shadowsocks, listen: 0.0.0.0:8388, method: aes-128-gcm, password: correct-horse}
control: {socket: SOCKET}
"""

# Opens a connection by the SOCKS5 proxy, has so many bytes echoed, and keeps it open.
TALK = """\
import signal, socket, sys
host, port, size = sys.argv[1].encode(), int(sys.argv[2]), int(sys.argv[3])
end = socket.create_connection(("127.0.0.1", 1080))
end.sendall(b"\\5\\1\\0\\5\\1\\0\\3" + bytes([len(host)]) + host + port.to_bytes(2, "big"))
taken, sent = 0, 0
while taken < 2 + 10:
    taken += len(end.recv(12 - taken))
while sent < size:
    sent += end.send(bytes(min(65536, size - sent)))
    left = sent - (taken - 12)
    while left:
        got = len(end.recv(left))
        taken, left = taken + got, left - got
print("ready", flush=True)
signal.pause()
"""
TALKS = (
    ("wiki.example", 443, 48_200),
    ("git.office.example", 22, 1_310),
    ("video.example", 443, 7_340_032),
)


def record() -> str:
    """What a terminal shows of the verbs, commands included. Raises Unavailable, NotReady."""
    with Lab() as lab:
        laptop, vps, dns, site = (lab.host(name) for name in ("laptop", "vps", "dns", "site"))
        lab.lan("net", laptop, vps, dns, site, private=False)
        lab.resolver(dns)
        lab.name("vps.example", vps)
        for name, _, _ in TALKS:
            lab.name(name, site)
        for port in sorted({port for _, port, _ in TALKS}):
            site.python("byway.lab.servers.echo", str(port))
        lab.settle()
        _start_byway(vps, SERVER, 8388)
        config = _start_byway(laptop, CLIENT, 1080)
        for name, port, size in TALKS:
            words = [sys.executable, "-c", TALK, name, str(port), str(size)]
            laptop.start(words, ready="^ready")
        shown = [
            f"$ byway {' '.join(verb)}\n{_on_terminal(laptop, config, verb)}" for verb in VERBS
        ]
    return "\n".join(shown)


def masked(text: str) -> str:
    """A recording without what differs between two of them: ages and rates."""
    text = re.sub(r"\b[\d.]+ ?[kKMG]?i?B?/s|(?<= )-(?= )", "RATE", text)
    text = re.sub(r"\b[\d.]+[smhd]\b", "AGE", text)
    return re.sub(r" +", " ", text)


def text_of(svg: str) -> str:
    """The recording that a picture was drawn from."""
    lines = re.findall(r"<text[^>]*>(.*?)</text>", svg)
    return "\n".join(html.unescape(re.sub(r"<[^>]*>", "", line)) for line in lines)


def drawn(text: str) -> str:
    """A recording as an SVG that looks like a terminal."""
    lines = text.splitlines()
    wide, high = 24 + max(map(len, lines)) * ADVANCE, 56 + len(lines) * LEADING
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:g}" height="{high}" '
        f'xml:space="preserve" viewBox="0 0 {wide:g} {high}" role="img">',
        "<title>A terminal with byway why and byway flows</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{wide:g}" height="{high}" rx="8" class="window"/>',
        *(f'<circle cx="{20 + 18 * n}" cy="18" r="5" class="dot"/>' for n in range(3)),
    ]
    for number, line in enumerate(lines):
        if line:
            place = f'x="12" y="{52 + number * LEADING}" textLength="{len(line) * ADVANCE:g}"'
            parts.append(f'<text {place} class="{_kind(line)}">{html.escape(line)}</text>')
        else:
            parts.append("<text></text>")
    return "\n".join([*parts, "</svg>", ""])


ADVANCE, LEADING = 7.8, 18  # pixels from letter to letter, and from line to line, at 13 pixels
STYLE = (
    ".window{fill:#16191d}.dot{fill:#4b535c}"
    "text{font:13px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre;"
    "fill:#c8d0d8}.command{fill:#fff;font-weight:bold}.taken{fill:#8fd18f}.head{fill:#8a97a5}"
)


def _kind(line: str) -> str:
    """The class of a line in the picture."""
    if line.startswith("$ "):
        return "command"
    if line.startswith(("->", "verdict", "chain")):
        return "taken"
    return "head" if re.match(r" *id ", line) else "line"


def _start_byway(host: Host, config: str, port: int) -> Path:
    """Run Byway on a host, and give the file of its config."""
    file = host.space.directory / "byway.yaml"
    file.write_text(config.replace("SOCKET", str(host.space.directory / "control")))
    file.chmod(0o600)
    process = host.start([sys.executable, "-m", "byway", "run", "-c", str(file)])
    host.wait_listening(process, port)
    return file


def _on_terminal(host: Host, config: Path, words: Sequence[str]) -> str:
    """What a verb prints on a terminal of a known size."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command = host.command([sys.executable, "-m", "byway", *words, "-c", str(config)])
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=host.environment()
    ) as process:
        os.close(theirs)
        text = b"".join(_chunks(ours)).decode()
    os.close(ours)
    if process.returncode:
        raise RuntimeError(f"byway {' '.join(words)}: {text}")
    return text.replace("\r\n", "\n")


def _chunks(terminal: int) -> Iterator[bytes]:
    """What comes out of a terminal until its last program closes it (then Linux gives EIO)."""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            return
        if not chunk:
            return
        yield chunk


def main() -> int:
    """Draw the picture anew, unless it still shows what the verbs print."""
    try:
        text = record()
    except Unavailable as error:
        print(f"picture: {error}", file=sys.stderr)
        return 1
    if not PICTURE.exists() or masked(text_of(PICTURE.read_text("utf-8"))) != masked(text.rstrip()):
        PICTURE.write_text(drawn(text.rstrip("\n")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
