// `npm test`: installs and builds what is missing, then runs every test (or those the arguments name).
import { join } from 'node:path';
import { become, prepare, root } from './prepare.mjs';

prepare();
process.chdir(root);
await become(join(root, 'node_modules/vitest/vitest.mjs'), ['run', ...process.argv.slice(2)]);
