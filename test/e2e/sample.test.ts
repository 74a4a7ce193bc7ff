// The sample of deploy/samples as a user runs it, on a real etcd and with the real HAProxy.
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { complaint, runCommand } from '../../src/dev/etcd-command.ts';
import { projectFolder } from '../harness/binaries.ts';
import { findPrograms, haproxyWanted } from '../harness/programs.ts';
import { openStage, type Stage } from './stage.ts';

let stage: Stage;
let env: NodeJS.ProcessEnv = {};

beforeAll(async () => {
  [stage, { env }] = await Promise.all([openStage({ size: 1 }), findPrograms(haproxyWanted)]);
}, 300_000);
afterAll(() => stage.end());

test('shows a switchover and a crash through both ways; the proxy fails no write of a switchover', async () => {
  const show = join(projectFolder, 'deploy/samples/show.mjs');
  const [endpoint = ''] = stage.cluster.endpoints;
  const args = [show, '--etcd', endpoint];
  const ran = await runCommand(process.execPath, args, { timeoutMs: 180_000, env });
  expect(ran.code, complaint(ran)).toBe(0);
  const lines = ran.stdout.trim().split('\n');
  const told = lines.map((line) => /^(\w+) +(\w+) +(\d+) writes, (\d+) failed/.exec(line));
  expect(told.map((one) => one?.slice(1, 3))).toEqual([
    ['proxy', 'switchover'],
    ['proxy', 'kill'],
    ['haproxy', 'switchover'],
    ['haproxy', 'kill'],
  ]);
  for (const one of told) expect(Number(one?.[3])).toBeGreaterThan(100);
  expect(told[0]?.[4]).toBe('0');
});
