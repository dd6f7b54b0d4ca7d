"""What is asked of the host and done to it: open files, lines on a descriptor, own addresses,
what is remembered across restarts.

On config time, except for `is_own` and `LineWriter.write`, which flows call and which never wait.
"""
