"""LAYERS over a stream, and the pure doubles that tests put in a stream's place.

In comes a Stream, out goes a Stream. Setting a layer up is flow time; what it then does to the
bytes is the engine's.
"""
