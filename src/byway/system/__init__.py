"""The host: files, own addresses, processes, plugins, desktop settings.

On config time, except for `is_own` and `LineWriter.write`, which flows call and which never wait.
"""
