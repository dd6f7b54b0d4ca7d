"""The flows now on the road, what limits them, and the lines of the log.

Comes in: a `Passage` for each flow. Goes out: its record, or a refusal. On flow
time.
"""

from byway.ledger.ledger import JUDGES, Course, Ledger, Passage

__all__ = ["JUDGES", "Course", "Ledger", "Passage"]
