"""The story: an internet in a box with a wall in it, and how Byway gets past. `byway demo`.

Everything runs for real, in namespaces of its own; the exit status is the verdict.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable

from byway.lab.acts import ACTS
from byway.lab.process import NotReady
from byway.lab.space import Unavailable, environment
from byway.lab.stage import PICTURE, Stage, staged
from byway.lab.telling import Teller


def main() -> int:
    """Play all acts. Returns 0 when everything went as expected, 1 when not, 2 when it cannot."""
    tell = Teller()
    began = time.monotonic()
    for tool, package in (("curl", "curl"), ("openssl", "openssl")):
        if shutil.which(tool, path=environment()["PATH"]) is None:
            print(f"byway demo: {tool} is not installed (Debian: {package})", file=sys.stderr)
            return 2
    tell.say("Byway's demo: an internet in a box, made of network namespaces.")
    tell.say("Your own network is not touched, and nothing is left behind.")
    try:
        with staged(tell) as stage:
            how = "without root, in a user namespace" if stage.lab.rootless else "as root"
            tell.say(f"Built {how} in {time.monotonic() - began:.1f} s:", "")
            tell.show(PICTURE)
            for number, (title, act) in enumerate(ACTS, 1):
                tell.act(number, title)
                _play(stage, title, act)
    except Unavailable as error:
        print(f"byway demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        tell.say("", "Interrupted; everything was cleaned up.")
        return 130
    good = tell.table()
    tell.say(f"{time.monotonic() - began:.0f} seconds in all")
    return 0 if good else 1


def _play(stage: Stage, title: str, act: Callable[[Stage], None]) -> None:
    """Play one act. When a part of it breaks down, that is its outcome, and the story goes on."""
    try:
        act(stage)
    except (NotReady, OSError) as error:
        stage.tell.output(str(error))
        stage.tell.check(title, "played to its end", str(error).splitlines()[0], good=False)


if __name__ == "__main__":
    sys.exit(main())
