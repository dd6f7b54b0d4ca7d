"""The control interface: HTTP and JSON on a unix socket.

Comes in: requests of this user or root. Goes out: what the App says of itself, and orders to it.
`socket.py` is the door, `routes.py` what can be asked, `client.py` the other end, for the verbs.
On config time: nothing here runs per flow, and most of it is imported when somebody asks.
"""
