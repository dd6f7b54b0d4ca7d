"""Byway carries a machine's traffic by way of somewhere else: a proxy, a VPN, a global mode.

Read `router.py` first: it is the road. `interfaces.py` is one screen of nouns. An `App` is a value:
a Python program can build one from a config and run it, and several can live in one process.
"""
