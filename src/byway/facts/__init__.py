"""DESCRIBE more: finds facts that a rule needs, on request.

Comes in: a flow and the `Fact` its judge lacks. Goes out: the facts known then. On flow time, and
only for flows whose rules ask.
"""
