"""Reading a config: from a file, a text, or links, or the default."""

from __future__ import annotations

import codecs
import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from byway import dialects
from byway.config.model import RESERVED, Config
from byway.config.read.canonical import canonical
from byway.config.read.check import build
from byway.config.read.foreign import foreign, import_hint
from byway.config.read.links import is_link, read_link
from byway.config.read.tree import MAX_BYTES, TreeError, grow, parse, place_in
from byway.errors import ConfigError, Problem
from byway.values.name import like
from byway.values.problems import key_text
from byway.values.wrong import Wrong

_READ_HINT = "a config of Byway is YAML; others' configs are for byway import"
_EMPTY_HINT = "an empty config is written {}; without a file the default is used"


def load(path: str | os.PathLike[str]) -> Config:
    """Read and check a file. Relative paths in it count from its folder.

    Raises ConfigError with every problem, also when the file cannot be read.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
            mode = os.fstat(file.fileno()).st_mode
    except (OSError, ValueError) as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise _refusal(name, f"cannot be read: {why.lower()}") from None
    if len(data) > MAX_BYTES:
        raise _refusal(name, f"is larger than {MAX_BYTES} bytes")
    from byway.config.read.kinds import magic

    if kind := magic(data):
        raise _refusal(name, f"is {kind}", _READ_HINT)
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        line, column = place_in(before, len(before))
        raise _refusal(name, "is not UTF-8", "save the file as UTF-8", line, column) from None
    config = load_text(text, name, os.fspath(Path(path).absolute().parent))
    if stat.S_ISREG(mode) and mode & stat.S_IROTH and _has_secrets(config):
        message = "the file holds passwords, and every user of this host can read it"
        warning = Problem(name, 1, 1, "", message, f"chmod o-r {shlex.quote(name)}")
        config._warnings = (warning, *config.warnings)
    return config


def load_text(text: str, name: str = "config", folder: str | None = None) -> Config:
    """Read and check a text; `name` stands in for the file in messages.

    Raises ConfigError. Without a folder, relative paths stay as they are.
    """
    try:
        return _built(text, name, folder)
    except ConfigError:
        if kind := foreign(text):
            raise _refusal(name, f"is {kind}, not one of Byway's", import_hint(name)) from None
        if kind := _unread(text):
            raise _refusal(name, f"is {kind}", _READ_HINT) from None
        raise


def _unread(text: str) -> str:
    """The kind of a text that neither Byway nor `byway import` can read; "" otherwise."""
    from byway.config.read import kinds

    if kind := kinds.program_of(text):
        return kind
    try:
        root, _ = parse(text, foreign=True)
    except TreeError:
        return ""
    kind = "" if root is None else kinds.document_of(root)
    return "" if kind == kinds.OURS else kind


def _built(text: str, name: str, folder: str | None) -> Config:
    try:
        root, twice = parse(text)
    except TreeError as error:
        raise _refusal(name, error.message, error.hint, error.line, error.column) from None
    if root is None:
        raise _refusal(name, "is empty", _EMPTY_HINT)
    if not text.isascii():
        canonical(root)
    return build(root, name, folder, twice)


def default() -> Config:
    """The config without any file: a mixed proxy on 127.0.0.1:1080, everything direct."""
    return build(grow({}), "(default)")


def from_links(links: Sequence[str]) -> Config:
    """The default proxy with these links as its way out: a chain, in the order it is travelled.

    The path of a SIP008 document stands for its servers; the first of them is the hop. Raises
    ConfigError; what it says never shows a user or a password.
    """
    outbounds: dict[str, object] = {}
    problems = []
    before = None
    for at, text in enumerate(links, 1):
        name = f"hop-{at}" if len(links) > 1 else "link"
        try:
            found = _servers(text, name)
        except Wrong as error:
            where = f"link {at}: {key_text(error.key)}" if error.key else f"link {at}"
            problems.append(Problem("(links)", 0, 0, where, error.message, error.hint))
            continue
        via: dict[str, object] = {"via": before} if before else {}
        outbounds.update({name: outbound | via for name, outbound in found.items()})
        before = next(iter(found))
    if problems:
        raise ConfigError(problems)
    rules = [{"otherwise": before}] if before else []
    return build(grow({"outbounds": outbounds, "rules": rules}), "(links)")


def _servers(text: str, name: str) -> dict[str, dict[str, object]]:
    """The outbounds that one word of the command line stands for, by their names."""
    if is_link(text):
        return {name: read_link(text).outbound}
    if not text.endswith(".json"):
        raise Wrong("not a link", "scheme://user:password@host:port, or a SIP008 document (.json)")
    try:
        servers = dialects.read_document(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if isinstance(error, Wrong):
            raise
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Wrong(f"the document cannot be read: {why}") from None
    found: dict[str, dict[str, object]] = {}
    for at, (label, outbound) in enumerate(servers, 1):
        plain = like(label)[:48].strip() or f"server-{at}"
        taken = plain in found or plain in (*RESERVED, "direct")
        found[f"{plain}-{at}" if taken else plain] = outbound
    return found


def _has_secrets(config: Config) -> bool:
    ways = (*config.outbounds.values(), *config.inbounds.values())
    return any(
        getattr(way, "password", None) is not None or getattr(way, "users", ()) for way in ways
    )


def _refusal(
    file: str, message: str, hint: str = "", line: int = 1, column: int = 1
) -> ConfigError:
    return ConfigError([Problem(file, line, column, "", message, hint)])
