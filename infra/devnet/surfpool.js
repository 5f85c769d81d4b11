// One local network: node surfpool.js READY_FILE, settings as JSON in SURFPOOL_SETTINGS.
// Writes its addresses to READY_FILE once it answers and lives until SIGTERM.
const fs = require('fs');
const { Surfnet } = require('@solana/surfpool-linux-x64-gnu');

const network = Surfnet.startWithConfig({ offline: true, ...JSON.parse(process.env.SURFPOOL_SETTINGS) });
const ready = process.argv[2];
fs.writeFileSync(ready + '.new', JSON.stringify({ rpc: network.rpcUrl, ws: network.wsUrl }));
fs.renameSync(ready + '.new', ready);

function stop() {
  try {
    network.stop();
  } finally {
    process.exit(0);
  }
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
// Unread events pile up in its memory.
setInterval(() => network.drainEvents(), 250);
