"""DESCRIBE more, on request: fetches the facts that a rule turned out to need.

Comes in: a flow and the `Fact` its judge lacks. Goes out: the facts known then. On flow time, and
only for flows whose rules ask.
"""

from byway.facts.finder import Finder

__all__ = ["Finder"]
