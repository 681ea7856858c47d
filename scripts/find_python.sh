#!/bin/sh
# Prints the Python to develop with: $PYTHON if set, else the first of the candidates that really runs, is 3.11 or
# later and can make virtual environments with pip. Otherwise one line saying what to do, and exit 1.
candidates=${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3}
found_old= found_bare=

for python in $candidates; do
    # A name on PATH proves nothing: a version manager's shim may exist and refuse to run.
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { found_old="$python ($version)"; continue; }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || { found_bare="$version"; continue; }
    echo "$python"
    exit 0
done

if [ -n "$found_bare" ]; then
    echo "setup: Python $found_bare has no venv and ensurepip; on Debian and Ubuntu: apt install python$found_bare-venv" >&2
elif [ -n "$found_old" ]; then
    echo "setup: $found_old is too old, Python 3.11 or later is needed; install one, or name it: make PYTHON=/path/to/python3.11" >&2
else
    echo "setup: found no Python that runs (tried: $candidates); install 3.11 or later, or name it: make PYTHON=/path/to/python3.11" >&2
fi
exit 1
