"""ENTER: listeners, and the server end of each protocol.

Comes in: connections and packets. Goes out: `Arrival`s, still unanswered, to the router's `carry`.
One file each; `listener.py` is the accept loop they share, `packets.py` its twin for UDP. On flow
time.
"""
