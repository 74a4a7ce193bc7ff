// `npm test`: installs and builds what is missing, then runs every test (or those the arguments name). `--quick` before
// the arguments is for `npm run test:quick`; vitest.config.ts says which tests those are.
import { join } from 'node:path';
import { become, prepare, root } from './prepare.mjs';

prepare();
process.chdir(root);
const args = process.argv.slice(2);
if (args[0] === '--quick') {
  args.shift();
  process.env.TEST_QUICK = '1';
}
await become(join(root, 'node_modules/vitest/vitest.mjs'), ['run', ...args]);
