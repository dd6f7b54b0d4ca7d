"""The config: one YAML file, checked as a whole before anything starts.

Comes in: a file, a text, or links. Goes out: a frozen `Config`, or a `ConfigError` with every
problem and its exact place. On config time.
"""

from byway.config.changes import changes
from byway.config.groups import (
    BalanceGroup,
    FallbackGroup,
    FastestGroup,
    GroupConfig,
    Probe,
    SelectGroup,
)
from byway.config.invite import invitations
from byway.config.model import (
    Config,
    Control,
    Limits,
    Log,
)
from byway.config.read.find import find, places
from byway.config.read.links import is_link, read_link, write_link
from byway.config.read.load import default, from_links, load, load_text
from byway.config.read.report import Report, as_typed, check_report
from byway.config.rules.compile import judge_of
from byway.config.rules.conditions import Conditions, FileSet, InlineSet, RuleEntry, UrlSet
from byway.config.rules.pac import pac_file
from byway.config.rules.sets import OpenSets, open_sets
from byway.values.limit import Limit
from byway.values.problems import nearest
from byway.values.texts import UnixPath
from byway.values.tls import ClientTls, ServerTls
from byway.values.user import User

__all__ = [
    "BalanceGroup",
    "ClientTls",
    "Conditions",
    "Config",
    "Control",
    "FallbackGroup",
    "FastestGroup",
    "FileSet",
    "GroupConfig",
    "InlineSet",
    "Limit",
    "Limits",
    "Log",
    "OpenSets",
    "Probe",
    "Report",
    "RuleEntry",
    "SelectGroup",
    "ServerTls",
    "UnixPath",
    "UrlSet",
    "User",
    "as_typed",
    "changes",
    "check_report",
    "default",
    "find",
    "from_links",
    "invitations",
    "is_link",
    "judge_of",
    "load",
    "load_text",
    "nearest",
    "open_sets",
    "pac_file",
    "places",
    "read_link",
    "write_link",
]
