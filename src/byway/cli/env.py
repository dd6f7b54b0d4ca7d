"""`byway env`: lines for a shell that send the programs started in it through Byway."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import cast
from urllib.parse import quote

from byway import dialects
from byway.config import Config
from byway.dialects.card import In
from byway.flow import Target
from byway.interfaces import PORTLESS
from byway.values.user import User

NO_PROXY = "localhost,127.0.0.1,::1"
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

Line = Callable[[str, str | None], str]
"""One variable as a shell sets it, or (None) unsets it."""


def variables(
    config: Config, name: str | None, user: str | None, running: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """The variables for the inbound of this name, or for the best one. Raises ValueError.

    `running` are the addresses of a running Byway by inbound, where there is one: they have the
    real ports.
    """
    fit = {key: one for key, one in config.inbounds.items() if one.program_schemes is not None}
    if name is None:
        name = min(fit, key=lambda key: _worth(fit[key]), default="")
    inbound = fit.get(name)
    if inbound is None or inbound.program_schemes is None:
        known = ", ".join(fit) or "none"
        *kinds, last = dialects.serving_programs()
        wanted = f"{', '.join(kinds)} or {last}"
        raise ValueError(f"no {wanted} inbound {name!r}; there is: {known}")
    if getattr(inbound, "tls", None) is not None:
        raise ValueError(f"inbound {name} requires TLS, which few programs support for proxies")
    places = [Target.parse(text) for text in running.get(name, ()) if not text.startswith(PORTLESS)]
    places = places or [place for place in inbound.listen if isinstance(place, Target)]
    place = next((place for place in places if place.port), None)
    if place is None:
        raise ValueError(f"inbound {name} has no known port; is Byway running?")
    where = _credentials(inbound, name, user) + str(_near(place))
    http, every = (f"{scheme}://{where}" for scheme in inbound.program_schemes)
    return dict(zip(NAMES, (http, http, every, NO_PROXY), strict=True))


def addresses(status: Mapping[str, object]) -> Mapping[str, Sequence[str]]:
    """Where the inbounds of a running Byway listen, by its status."""
    inbounds = cast("Sequence[Mapping[str, object]]", status["inbounds"])
    return {str(one["name"]): cast("Sequence[str]", one["addresses"]) for one in inbounds}


def lines(shell: str, values: Mapping[str, str | None]) -> Sequence[str]:
    """A line for each variable, in small and in capital letters: programs differ in what they read.

    `http_proxy` comes in small letters alone, since servers hand `HTTP_PROXY` to CGI programs as
    what a client said (httpoxy).
    """
    line = SHELLS[shell]
    found = []
    for name, value in values.items():
        found.append(line(name, value))
        if name != "http_proxy" and shell != "powershell":  # there, case makes no difference
            found.append(line(name.upper(), value))
    return found


def _worth(inbound: In) -> int:
    """Inbounds for more programs come first: two schemes, then HTTP alone, then SOCKS alone."""
    schemes = inbound.program_schemes
    assert schemes is not None
    return 0 if len(set(schemes)) > 1 else 1 if "http" in schemes else 2


def _credentials(inbound: In, name: str, user: str | None) -> str:
    if not inbound.known_users:
        return ""
    users = [one for one in inbound.known_users if isinstance(one, User)]
    known = {one.name: one.password.get_secret_value() for one in users}
    if user is None:
        raise ValueError(
            f"inbound {name} requires a user: add --user with one of {', '.join(known)}"
        )
    if user not in known:
        raise ValueError(f"inbound {name} has no user {user!r}")
    return f"{quote(user, safe='')}:{quote(known[user], safe='')}@"


def _near(place: Target) -> Target:
    """An address that listens everywhere, as this host reaches it."""
    if place.packed is None or any(place.packed):
        return place
    return Target.of("127.0.0.1" if len(place.packed) == 4 else "::1", place.port)


def _posix(name: str, value: str | None) -> str:
    return f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str | None) -> str:
    if value is None:
        return f"set -e {name}"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{escaped}'"


def _powershell(name: str, value: str | None) -> str:
    if value is None:
        return f"Remove-Item Env:{name} -ErrorAction SilentlyContinue"
    doubled = "".join(c * 2 if c in "'‘’‚‛" else c for c in value)  # it takes all for quotes
    return f"$Env:{name} = '{doubled}'"


SHELLS: Mapping[str, Line] = {"bash": _posix, "fish": _fish, "powershell": _powershell}
