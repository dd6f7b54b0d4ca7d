"""What tells Byway's own traffic from all else on this host, and where it is routed."""

from __future__ import annotations

OWN = 0x2D7
"""The firewall mark of Byway's own sockets, and of flows that the firewall lets leave for it."""

DIVERTED = 0x2D8
"""The mark of what the firewall diverts to a listener of Byway: routed to this host itself by the
table of the same number."""

GROUP = 72700727
"""The group that Byway's plugins run as: their sockets bear no mark of ours. No account has it."""
