// Lays out the file system of the image in a folder: this very Node, the shared objects that it has
// loaded, and the bundle as a program named electord. It asks Node itself what it loads, so it works
// for any processor and any C library.
//
// node collect.mjs BUNDLE FOLDER
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const [bundle = '', folder = ''] = process.argv.slice(2);
const node = '/usr/local/bin/node';

function add(from, to) {
  const target = join(folder, to);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(from, target);
}

add(process.execPath, node);
for (const object of process.report.getReport().sharedObjects) {
  // The kernel's own page of code stands in the list too, and is no file.
  if (object.startsWith('/') && object !== process.execPath && existsSync(object)) {
    add(object, object);
  }
}

// There is no `env` in the image to find Node: the first line names it.
const program = readFileSync(bundle, 'utf8').replace(/^#!.*/, `#!${node}`);
writeFileSync(join(folder, 'usr/local/bin/electord'), program, { mode: 0o755 });
// This Node made it, and the program in it is the same.
copyFileSync(`${bundle}.cache`, join(folder, 'usr/local/bin/electord.cache'));
