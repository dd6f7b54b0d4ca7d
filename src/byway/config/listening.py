"""Errors of the system about a config (a file, an address), at its place in it, with a hint."""

from __future__ import annotations

import errno

from byway.config.model import Config
from byway.errors import Problem, in_words
from byway.flow import Target


def cannot_listen(config: Config, name: str, error: OSError) -> OSError:
    """The error of opening an inbound, as a problem of its key `listen` if it
    has one, in the same class."""
    line, column = config.listen_place(name)
    listens = bool(getattr(config.inbounds.get(name), "listen", ()))
    problem = Problem(
        config.file,
        line,
        column,
        f"inbounds.{name}.listen" if listens else f"inbounds.{name}",
        in_words(error),
        _hint(config, name, error),
    )
    return type(error)(error.errno, str(problem))


def refused(config: Config, section: str, name: str, error: OSError) -> OSError:
    """An error of the system, as a problem of an entry of the config, in the same class."""
    line = config.line(section, name)
    problem = Problem(config.file, line, 1, f"{section}.{name}", in_words(error))
    return type(error)(error.errno, str(problem))


def _hint(config: Config, name: str, error: OSError) -> str:
    listen = getattr(config.inbounds.get(name), "listen", ())
    ports = [
        place.port for place in listen if isinstance(place, Target) and str(place) in str(error)
    ]
    match error.errno:
        case errno.EADDRINUSE if ports:
            port = ports[0]
            return (
                f"is Byway already running? `byway status` shows, `ss -ltunp sport = :{port}` shows"
                " which program has it; end that one, or listen on another port"
            )
        case errno.EADDRINUSE:
            return "another program listens there: end it, or listen at another path"
        case errno.EACCES | errno.EPERM if ports:
            return "ports below 1024 are for root (or CAP_NET_BIND_SERVICE): use a higher one"
        case errno.EADDRNOTAVAIL:
            return "this host has no such address; `ip address` lists those it has"
        case errno.ENOENT | errno.EACCES | errno.ENOTDIR | errno.EROFS:
            return "the folder of a unix socket must be there, and writable"
    return ""
