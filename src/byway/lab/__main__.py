"""The demo's ground to play on: builds it, and opens a shell on the laptop. `byway lab`."""

from __future__ import annotations

import shlex
import sys

from byway.lab.space import Unavailable
from byway.lab.stage import CONFIG, FREE, PICTURE, PORT, WALLED, Stage, staged
from byway.lab.telling import Teller


def main() -> int:
    """Build, tell, open a shell; everything is gone when it ends. Returns the shell's status."""
    tell = Teller()
    name = sys.argv[1] if len(sys.argv) > 1 else "laptop"
    try:
        with staged(tell) as stage:
            if name not in stage.lab.hosts:
                print(f"byway lab: no host {name}: {', '.join(stage.lab.hosts)}", file=sys.stderr)
                return 2
            stage.start_byway(stage.vps, CONFIG)
            _explain(stage, name)
            return stage.lab.hosts[name].shell()
    except Unavailable as error:
        print(f"byway lab: {error}", file=sys.stderr)
        return 2


def _explain(stage: Stage, name: str) -> None:
    stage.tell.show(PICTURE)
    stage.tell.say(f"Byway runs on the VPS, port {PORT}. Things to try on the laptop:")
    curl = ["curl", "-m", "5"]
    for argv in (
        [*curl, f"https://{FREE}/"],
        [*curl, f"https://{WALLED[2]}/"],
        [*curl, "-x", stage.proxy("socks5h"), f"https://{WALLED[2]}/"],
    ):
        stage.tell.show(shlex.join(argv))
    stage.tell.say("", "Other hosts, from another terminal:")
    for host in stage.lab.hosts.values():
        enter = shlex.join(host.command(["bash"], "/"))
        stage.tell.show(f"{host.name:<8} {host.address4:<14} {host.address6:<17} {enter}")
    stage.tell.say("", f"This is a shell on {name}; the lab ends with it.")


if __name__ == "__main__":
    sys.exit(main())
