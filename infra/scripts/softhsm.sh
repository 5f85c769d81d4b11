#!/bin/sh
# Makes SoftHSM, the token in software that the PKCS#11 signer is tested on, available: finds it, or
# installs the distribution's package when we may. Again: costs nothing.
set -eu

found() {
    command -v softhsm2-util >/dev/null 2>&1 || return 1
    for module in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so \
        /usr/lib64/pkcs11/libsofthsm2.so /usr/local/lib/softhsm/libsofthsm2.so; do
        [ -e "$module" ] && return 0
    done
    return 1
}

install_package() {
    apt-get install -y -qq --no-install-recommends softhsm2 ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends softhsm2; }
}

found && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "softhsm: installing the distribution's package"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    for wait in 0 2 5 15 30; do # another apt may hold its lock, a mirror may be slow
        sleep "$wait"
        if install_package >"$log" 2>&1 && found; then
            rm -f "$log"
            exit 0
        fi
    done
    cat "$log" >&2
    rm -f "$log"
fi
echo "softhsm: not found. Install SoftHSM 2 (Debian, Ubuntu: apt install softhsm2; Fedora: dnf" >&2
echo "softhsm: install softhsm): the tests of the PKCS#11 signer run on it." >&2
exit 1
