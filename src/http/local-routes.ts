// The paths that only the local listener serves: the operator's verbs and the app's API. All of them speak of one
// election; what guards them is in guards.ts.
import { append, fence, readJournal, readState, removeState, writeState } from './fenced.ts';
import type { LocalRoute } from './exchange.ts';
import { audited, auditAnswer } from './audit.ts';
import { pauseBody, resumeBody, stepDownBody, switchoverBody } from './bodies.ts';
import { switchover } from './switchover.ts';
import { pause, resume, stepDown } from './verbs.ts';

/** What each verb is called in the audit log, how its body is read, and what it does. */
const post = {
  stepDown: audited('step-down', stepDownBody, stepDown),
  switchover: audited('switchover', switchoverBody, switchover),
  pause: audited('pause', pauseBody, pause),
  resume: audited('resume', resumeBody, resume),
} as const;

export const localRoutes: readonly LocalRoute[] = [
  { paths: ['/fence/:token'], scope: 'local', handlers: { GET: fence } },
  {
    paths: ['/state/*key'],
    scope: 'local',
    handlers: { GET: readState, PUT: writeState, DELETE: removeState },
  },
  { paths: ['/journal'], scope: 'local', handlers: { GET: readJournal, POST: append } },
  { paths: ['/step-down'], scope: 'local', handlers: { POST: post.stepDown } },
  { paths: ['/switchover'], scope: 'local', handlers: { POST: post.switchover } },
  { paths: ['/pause'], scope: 'local', handlers: { POST: post.pause } },
  { paths: ['/resume'], scope: 'local', handlers: { POST: post.resume } },
  { paths: ['/audit'], scope: 'local', handlers: { GET: auditAnswer } },
];
