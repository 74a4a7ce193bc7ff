// `npm start`: installs and builds what is missing, then runs the place to try electord in with the arguments given.
import { join } from 'node:path';
import { become, dist, prepare } from './prepare.mjs';

prepare();
await become(join(dist, 'electord-dev.js'), process.argv.slice(2));
