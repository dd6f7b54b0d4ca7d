#!/usr/bin/env bash
# Make the virtual environment at $1 with the first Python that is new enough.
set -euo pipefail

venv=$1
if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    exit 0
fi
for python in python3.11 python3 python3.12 python3.13; do
    command -v "$python" >/dev/null || continue
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        printf 'make: %s has no venv module: apt-get install python3-venv\n' "$python" >&2
        exit 1
    fi
    exec "$python" -m venv "$venv"
done
printf 'make: Python 3.11 or newer is needed (python3.11 or python3 on the PATH)\n' >&2
exit 1
