"""The host's firewall as data: nftables' tables, chains, sets and rules, and the program that loads
them.

Comes in: what is to be taken, and what must not leave. Goes out: one table, written in one
transaction, tagged as Byway's. No other table is ever touched. On config time.
"""
