"""The composition root: from a config to a running Byway. Only here do the stations meet.

Comes in: a config. Goes out: an `App`, which runs it, and other configs after it. On config time.
"""

from byway.app.app import App, Reread

__all__ = ["App", "Reread"]
