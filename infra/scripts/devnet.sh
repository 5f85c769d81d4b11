#!/bin/sh
# Installs the pinned node packages (anvil, the Solidity compiler, OpenZeppelin). Again: costs nothing.
set -eu
cd "$(dirname "$0")/../devnet"

wanted=$(cat package.json package-lock.json | sha256sum | cut -d' ' -f1)
stamp=node_modules/strongroom.stamp
[ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ] && exit 0

if ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null; then
    echo "devnet: needs Node 20 or newer, with npm" >&2
    exit 1
fi
if [ "${STRONGROOM_DEVNET_LOCKED:-}" != yes ] && command -v flock >/dev/null; then
    mkdir -p ../../var
    STRONGROOM_DEVNET_LOCKED=yes exec flock ../../var/devnet.lock ../scripts/devnet.sh
fi
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
echo "$wanted" >"$stamp"
