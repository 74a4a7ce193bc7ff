// `npm start`: installs and builds what is missing, then runs `electord dev` with the arguments given.
import { become, prepare, program } from './prepare.mjs';

prepare();
await become(program, ['dev', ...process.argv.slice(2)]);
