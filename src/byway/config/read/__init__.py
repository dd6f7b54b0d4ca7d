"""Reads a config: file or links, tree with places, checks, and what is reported of them."""
