#!/bin/sh
# Makes .venv from the hash-locked list and installs the packages of this tree into it. Doing it again
# costs nothing: a stamp inside .venv carries the hash of everything the result depends on.
set -eu
cd "$(dirname "$0")/../.."

fitting_python() {
    for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "setup: needs Python 3.11, 3.12 or 3.13 with its venv module (Debian: apt install python3-venv);" >&2
    echo "setup: '${PYTHON:-python3}' is not one. Name another with PYTHON=/path/to/python3." >&2
    return 1
}

wanted=$(cat pyproject.toml requirements/dev.lock requirements/bootstrap.lock infra/scripts/setup.sh \
    CMakeLists.txt */native/*.cpp */native/*.hpp | sha256sum | cut -d' ' -f1)
stamp=.venv/strongroom.stamp
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi

# Two callers at once (make -j, several people in one tree) must not build into each other.
if [ "${STRONGROOM_SETUP_LOCKED:-}" != yes ] && command -v flock >/dev/null; then
    mkdir -p var
    STRONGROOM_SETUP_LOCKED=yes exec flock var/setup.lock infra/scripts/setup.sh
fi

if ! .venv/bin/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
    rm -rf .venv
    python=$(fitting_python)
    echo "setup: .venv from $("$python" --version)"
    "$python" -m venv .venv
fi
rm -f "$stamp"
if [ ! -x .venv/bin/uv ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        -r requirements/bootstrap.lock
fi
.venv/bin/uv pip sync --quiet --require-hashes --python .venv/bin/python requirements/dev.lock
.venv/bin/uv pip install --quiet --no-deps --no-build-isolation --reinstall-package strongroom \
    --python .venv/bin/python --editable .
echo "$wanted" >"$stamp"
