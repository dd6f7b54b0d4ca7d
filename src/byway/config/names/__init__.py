"""The `dns` of a config: what a person writes, and the names that its servers need."""
