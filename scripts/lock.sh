#!/usr/bin/env bash
# Writes requirements/dev.txt, everything a developer needs, the peers of the benchmarks, and the locks of the examples: every file by its hash, for
# Python 3.11 and later on every platform. Versions already locked are kept; give --upgrade, or --upgrade-package NAME,
# to move them.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=.venv/bin/uv
[ -x "$uv" ] || uv=$(command -v uv) || { echo "lock: no uv; run 'make setup' first, or install it" >&2; exit 1; }

lock() {  # lock SOURCE TARGET OPTION...
    local source=$1 target=$2
    shift 2
    # No index is named in the file: whoever installs it decides where from, and the hashes decide what.
    "$uv" pip compile "$source" --output-file "$target" --quiet --no-config \
        --universal --python-version 3.11 --generate-hashes \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links "$@"
    echo "lock: $target ($(grep -c '==' "$target") packages)"
}

lock pyproject.toml requirements/dev.txt --extra dev "$@"
lock pyproject.toml requirements/extras.txt --extra postgresql --extra s3 --extra datashard --extra servers --extra browser --extra frames --constraint requirements/dev.txt "$@"
lock pyproject.toml requirements/bench.txt --extra bench --constraint requirements/dev.txt "$@"
lock scripts/bench/projects/numpy/requirements.in scripts/bench/projects/numpy/requirements.txt "$@"
for release in examples/orders/v1 examples/orders/v2; do
    lock "$release/requirements.in" "$release/requirements.txt" "$@"
done
