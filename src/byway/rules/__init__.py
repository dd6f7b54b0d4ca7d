"""JUDGE: picks the outbound of a flow, or names the fact that it needs.

Comes in: a `Flow` and the `Facts` known about it. Goes out: a verdict (`Via`, `Reject`, `Drop`) or
`Lacks(fact)`. Pure and synchronous, on flow time: no sockets, no waiting, no state.
"""

from byway.rules.judge import DEFAULT, Judge
from byway.rules.tables import Rule
from byway.rules.verdicts import (
    NO_FACTS,
    Drop,
    Fact,
    Facts,
    Lacks,
    Reject,
    RuleRef,
    Said,
    Verdict,
    Via,
)
from byway.values.prefix import Prefix

__all__ = [
    "DEFAULT",
    "NO_FACTS",
    "Drop",
    "Fact",
    "Facts",
    "Judge",
    "Lacks",
    "Prefix",
    "Reject",
    "Rule",
    "RuleRef",
    "Said",
    "Verdict",
    "Via",
]
