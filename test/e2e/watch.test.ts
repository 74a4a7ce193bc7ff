// `status --watch` into a pipe: it speaks of a sidecar that is away, of one that comes and of one that dies, and says nothing
// twice.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { spawnGuarded, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { freePort } from '../../src/dev/etcd-process.ts';
import { eventually } from '../harness/wait.ts';
import { environment, program } from './program.ts';
import { openStage, type Stage } from './stage.ts';

let stage: Stage;
let watching: GuardedChild | null = null;
beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(async () => {
  await watching?.stop(3000);
  await stage.clear();
});
afterAll(() => stage.end());

const time = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d {2}/;

test.each([[[]], [['--json']]])('%j', { timeout: 90_000 }, async (more) => {
  const lines: string[] = [];
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  watching = await spawnGuarded({
    file: process.execPath,
    args: [program, 'status', '--watch', `--url=${url}`, ...more],
    env: environment(),
    onLine: (line) => lines.push(line),
  });
  const says = (what: RegExp, count: number): Promise<unknown> =>
    eventually(() => lines.length >= count && what.test(lines.at(-1) ?? ''), {
      withinMs: 30_000,
      what: `${String(what)} at the end of ${JSON.stringify(lines)}`,
    });
  const away = more.length > 0 ? /"error":"sidecar_unreachable"/ : /cannot be asked: nobody list/;
  const leads = more.length > 0 ? /"isLeader":true/ : /a leads, token \d+; a is leader$/;

  await says(away, 1);
  const args = [`--local-listen=127.0.0.1:${port}`];
  const sidecar = await stage.sidecar({ election: `seen${more.join('')}`, id: 'a', args });
  await says(leads, 2);
  sidecar.signal('SIGKILL');
  await says(away, 3);
  if (more.length === 0) for (const line of lines) expect(line).toMatch(time);
  expect(lines.filter((line) => away.test(line))).toHaveLength(2);
  watching.signal('SIGINT');
  expect(await watching.exited).toEqual({ code: 0, signal: null });
});
