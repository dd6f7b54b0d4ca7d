"""SPEAK: the wire format of each protocol, both ends; no sockets, no clock.

In comes a Stream and a Target (or the other way round), out goes the same Stream past its
handshake. Every handshake is a coroutine over a stream: no socket, clock, task or event loop in
here, so a test can play one from a list of bytes. Runs on flow time: once per flow, never per
chunk.
"""
