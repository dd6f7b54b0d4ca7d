"""The rules and sets of a config: what a person writes, and how it is compiled and kept."""
