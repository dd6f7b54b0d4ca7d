"""Servers that run inside lab hosts, each a program: `python -m byway.lab.servers.NAME`.

Each prints the line "ready" when it serves.
"""
