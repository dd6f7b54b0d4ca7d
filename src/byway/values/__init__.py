"""What a person writes: the types of single values, the base of sections, errors with their place.

On config time. It stands below the cards of the protocols, so that these can say what their
sections may hold, and `config` above them can read the whole file.
"""
