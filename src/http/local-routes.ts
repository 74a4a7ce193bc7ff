// The paths that only the local listener serves: the operator's verbs and the app's API. All of them speak of one
// election; what guards them is in guards.ts.
import { append, fence, readJournal, readState, removeState, writeState } from './fenced.ts';
import type { LocalRoute } from './exchange.ts';
import { switchover } from './switchover.ts';
import { pause, resume, stepDown } from './verbs.ts';

export const localRoutes: readonly LocalRoute[] = [
  { paths: ['/fence/:token'], scope: 'local', handlers: { GET: fence } },
  {
    paths: ['/state/*key'],
    scope: 'local',
    handlers: { GET: readState, PUT: writeState, DELETE: removeState },
  },
  { paths: ['/journal'], scope: 'local', handlers: { GET: readJournal, POST: append } },
  { paths: ['/step-down'], scope: 'local', handlers: { POST: stepDown } },
  { paths: ['/switchover'], scope: 'local', handlers: { POST: switchover } },
  { paths: ['/pause'], scope: 'local', handlers: { POST: pause } },
  { paths: ['/resume'], scope: 'local', handlers: { POST: resume } },
];
