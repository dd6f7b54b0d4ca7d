"""JUDGE names: resolvers, from a name to its addresses.

Comes in: a host name. Goes out: packed addresses, best first, or Unreachable (NAME_UNKNOWN). On
flow time; nothing in here blocks the loop.
"""

from byway.dns.system import SystemResolver

__all__ = ["SystemResolver"]
