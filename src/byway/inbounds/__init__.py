"""ENTER: listens, speaks the near side's protocol, hands arrivals to the road.

Comes in: connections and packets. Goes out: `Arrival`s, still unanswered, to the router's `carry`.
One file each; `listener.py` is the accept loop they share, `packets.py` its twin for UDP. On flow
time.
"""
