"""Types of the values in a config, and errors with their position.

On config time. It stands below the cards of the protocols, so that these can say what their
sections may hold, and `config` above them can read the whole file.
"""
