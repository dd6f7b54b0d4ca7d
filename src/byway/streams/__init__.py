"""Layers over a stream, and the in-memory stream of the tests.

In comes a Stream, out goes a Stream. Setting a layer up is flow time; what it then does to the
bytes is the engine's.
"""
