// Standard JSON in on stdin, standard JSON out on stdout; imports from contracts/src and node_modules only.
const fs = require('fs');
const path = require('path');
const solc = require('solc');

const roots = [process.argv[2], path.join(__dirname, 'node_modules')];

function find(name) {
  for (const root of roots) {
    const file = path.join(root, name);
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, 'utf8') };
  }
  return { error: 'not found: ' + name };
}

process.stdout.write(solc.compile(fs.readFileSync(0, 'utf8'), { import: find }));
