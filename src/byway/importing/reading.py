"""Finds the program that a text is of, and its reader."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from byway import dialects
from byway.config.read import kinds
from byway.config.read.foreign import foreign
from byway.config.read.tree import TreeError, parse
from byway.errors import ConfigError, Problem
from byway.importing import links
from byway.importing.draft import Draft, Imported
from byway.importing.finished import finished
from byway.importing.telling import grouped
from byway.values.written import Node
from byway.values.wrong import Wrong

MOST_BYTES = 16 * 1024 * 1024
_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\.")
_CLASH = {
    "proxies", "rules", "rule-providers", "proxy-providers", "mixed-port", "port",
    "socks-port", "listeners", "redir-port", "allow-lan", "tunnels", "proxy-groups", "hosts",
}  # fmt: skip
_SING_BOX = {"inbounds", "outbounds", "route", "dns", "endpoints"}


def import_text(
    data: bytes,
    file: str,
    folder: str | None = None,
    geo: Mapping[str, str] = MappingProxyType({}),
) -> Imported:
    """Make a config of whatever this is. `folder` is where relative paths in it count from, `geo`
    the databases of `country` and `asn` that rules may ask.

    Raises ConfigError when it is nothing that can be read.
    """
    if len(data) > MOST_BYTES:
        raise _refusal(file, f"is larger than {MOST_BYTES} bytes")
    if what := kinds.nature(data):
        raise _refusal(file, f"is {what}", hint=kinds.READ)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refusal(file, "is not UTF-8") from None
    if not text.strip():
        raise _refusal(file, "is empty")
    draft = Draft(file, folder)
    if geo:
        draft.plain["geo"] = dict(geo)
    plain = links.unpacked(text)
    if what := kinds.program_of(text):
        raise _refusal(file, f"is {what}", hint=kinds.READ)
    if plain is not None:
        links.read(plain, draft)
    elif links.has_links(text) and not re.search(r"^\s*[\w-]+:(\s|$)|^\s*{", text, re.MULTILINE):
        links.read(text, draft)
    else:
        _structured(text, file, draft)
    if not any(draft.entries.values()) and not draft.rules and not draft.plain:
        notes = [Problem(file, note.line, 1, note.what, note.why) for note in grouped(draft.notes)]
        message = "contains nothing that Byway can convert"
        raise ConfigError([*notes, Problem(file, 0, 0, "", message)])
    return finished(draft)


def _structured(text: str, file: str, draft: Draft) -> None:
    is_json = text.lstrip()[:1] == "{"
    try:
        root, _ = parse(_json_as_yaml(text) if is_json else text, foreign=True)
    except TreeError as error:
        if not foreign(text) and (what := kinds.list_of(text)):
            raise _refusal(file, f"is {what}", hint=kinds.READ) from None
        raise _refusal(file, error.message, error.line, error.column, error.hint) from None
    keys = set(root.content) if isinstance(root, Node) and isinstance(root.content, dict) else set()
    what = "" if root is None or keys & _CLASH - {"rules"} else kinds.document_of(root)
    if what:
        raise _refusal(file, f"is {what}", hint=kinds.READ)
    if root is not None and is_json and ("servers" in keys or "server_port" in keys):
        _sip008(text, file, draft)
    elif root is not None and keys & _CLASH:
        from byway.importing import clash

        clash.read(root, draft)
    elif root is not None and keys & _SING_BOX:
        from byway.importing import singbox

        singbox.read(root, draft)
    else:
        what = kinds.list_of(text) or "in an unknown format"
        raise _refusal(file, f"is {what}", hint=kinds.READ)


def _sip008(text: str, file: str, draft: Draft) -> None:
    try:
        servers = dialects.read_document(text)
    except Wrong as error:
        raise _refusal(file, error.message, hint=error.hint) from None
    found = []
    for at, (label, outbound) in enumerate(servers, 1):
        name = draft.free_name(label or f"server-{at}")
        draft.outbound(name, 0, dict(outbound))
        found.append(name)
    draft.everything_by(found)


def _json_as_yaml(text: str) -> str:
    """JSON, which sing-box allows comments in, as YAML: no comments, no pairs of surrogates.

    One pass: what is not closed ends it, and the parser says so.
    """
    text = _SURROGATES.sub(_joined, text)
    out, at = [], 0
    while found := _TOKEN.search(text, at):
        start = found.start()
        out.append(text[at:start])
        if found[0] == "\t":
            at = start + 1
            out.append(" ")
            continue
        whole = _WHOLE[found[0]].match(text, start)
        if whole is None:
            return "".join(out) + text[start:]
        at = whole.end()
        if found[0] == '"':
            out.append(whole[0].replace("\\/", "/"))
        else:
            out.append(re.sub(r"[^\n]", " ", whole[0]))
    return "".join(out) + text[at:]


_TOKEN = re.compile(r'"|//|/\*|\t')
_WHOLE = {
    '"': re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL),
    "//": re.compile(r"//[^\n]*"),
    "/*": re.compile(r"/\*.*?\*/", re.DOTALL),
}


def _joined(found: re.Match[str]) -> str:
    if found[1] is None:
        return found[0]
    high, low = int(found[1], 16), int(found[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def _refusal(
    file: str, message: str, line: int = 0, column: int = 0, hint: str = ""
) -> ConfigError:
    return ConfigError([Problem(file, line, column, "", message, hint)])
