#!/bin/sh
# Rewrites the lock files from pyproject.toml. Each is valid for every supported Python, carries the
# hash of every file that may be installed and names no index: where to fetch from is the machine's affair.
set -eu
cd "$(dirname "$0")/../.."
uv=${UV:-.venv/bin/uv}

compile() {
    target=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
        --output-file "$target" "$@"
}

compile requirements/dev.lock pyproject.toml --group dev
compile requirements/runtime.lock pyproject.toml --constraint requirements/dev.lock
compile requirements/extras.lock pyproject.toml --all-extras --constraint requirements/dev.lock
grep '^uv==' requirements/dev.lock | sed 's/ *\\$//' |
    compile requirements/bootstrap.lock - --constraint requirements/dev.lock

if grep -nE 'https?:|file:|^--|(^|[ =])/' requirements/*.lock; then
    echo "lock: the lines above name an index or a path of this machine" >&2
    exit 1
fi
