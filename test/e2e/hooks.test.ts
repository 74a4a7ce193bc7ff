// Hooks of real sidecars on a real etcd: a planned hand-over waits for the step-down hook while the lease is kept
// alive; hooks that fail, hang, fork or do not obey delay it by no more than they may; and none is left behind.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { membersOf, untilGone } from '../harness/process-groups.ts';
import { monotonicMs, type LogLine, type Sidecar } from '../harness/sidecar.ts';
import { eventually, within } from '../harness/wait.ts';
import { Probe, staleClaims } from './claims.ts';
import { agreement, failoverWithinMs, openStage, type Stage } from './stage.ts';

/** With a wide margin, so that a busy machine that is late with a kill is not late for the lease. */
const ttlMs = 6000;
const timing = [`--ttl=${ttlMs}ms`, '--margin=2s'];

let stage: Stage;
let folder: string;

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'electord-hooks-'));
});
afterEach(async () => {
  await stage.clear();
  rmSync(folder, { recursive: true, force: true });
});
afterAll(() => stage.end());

const file = (name: string): string => join(folder, name);
const read = (name: string): string =>
  existsSync(file(name)) ? readFileSync(file(name), 'utf8') : '';
const groupIn = (name: string): Promise<number> =>
  eventually(() => Number(read(name)) || null, { withinMs: 20_000, what: `a group in ${name}` });
/** Neither the hook nor its fork obeys; its group is noted. */
const stubborn = (name: string): string =>
  `exec:echo $$ > ${file(name)}; trap "" TERM; (trap "" TERM; sleep 1000) & sleep 1000; sleep 1000`;

async function two(
  election: string,
  args: readonly string[],
): Promise<{ first: Sidecar; second: Sidecar }> {
  const first = await stage.sidecar({ election, id: 'a', args: [...timing, ...args] });
  await first.waitFor(({ isLeader }) => isLeader, 30_000);
  const second = await stage.sidecar({ election, id: 'b', args: timing });
  await agreement([first, second]);
  return { first, second };
}

const timeOf = (line: LogLine): number => Date.parse(String(line['time']));
const saying = (text: string) => (line: LogLine) => String(line['msg']).includes(text);
const leaseOf = async (sidecar: Sidecar): Promise<string> =>
  (await sidecar.get<{ lease: { id: string } }>('/status')).body.lease.id;

test('a planned hand-over waits for a long hook, keeps the lease alive, and leaves no gap', async () => {
  // Longer than the TTL: without renewals the lease would not last.
  const hook = `exec:echo $ELECTORD_CAUSE $ELECTORD_MUST_STOP_IN_MS > ${file('told')}; sleep 5`;
  const { first, second } = await two('planned', [`--on-step-down=${hook}`]);
  const lease = await leaseOf(first);
  const probe = new Probe([first, second]);
  const stoppedAt = monotonicMs();
  first.signal('SIGTERM');
  await eventually(() => probe.of(first).at(-1)?.claims === null, {
    withinMs: 20_000,
    what: 'the end of the claim',
  });
  // While the hook runs nobody leads, and the lease with its key lives on.
  const during: boolean[] = [];
  while (monotonicMs() - stoppedAt < 4500) {
    during.push((await stage.leases()).includes(lease));
    expect((await second.get('/leader')).status).toBe(503);
  }
  expect(during.length).toBeGreaterThan(5);
  expect(during).not.toContain(false);
  const next = await second.waitFor(({ isLeader }) => isLeader, 20_000);
  expect(next.receivedAt - stoppedAt).toBeGreaterThan(5000);
  const released = await first.waitForLog(saying('gave the leadership of planned back'), 20_000);
  const leads = await second.waitForLog(saying('leads planned'), 20_000);
  // It waited for the hook and for nothing else; how few milliseconds that takes is measured by the benchmark.
  expect(timeOf(leads) - timeOf(released)).toBeLessThan(ttlMs / 2);
  expect(staleClaims(await probe.end())).toEqual([]);
  expect(read('told')).toMatch(/^stopping \d{4}\n$/);
  expect((await first.exited).code).toBe(0);
});

test.each([
  ['fails', 'exec:exit 3', 'failed'],
  ['kills itself', 'exec:kill -9 $$', 'failed'],
  ['is not there', 'exec:/nonexistent/hook', 'failed'],
  ['cannot be reached', 'http://127.0.0.1:1/hook', 'failed'],
])('a step-down hook that %s holds up nothing', async (_what, hook, result) => {
  const { first, second } = await two('failing', [`--on-step-down=${hook}`]);
  const stoppedAt = monotonicMs();
  first.signal('SIGTERM');
  const next = await second.waitFor(({ isLeader }) => isLeader, 20_000);
  // Neither for the hook's timeout nor for the lease.
  expect(next.receivedAt - stoppedAt).toBeLessThan(ttlMs - 1000);
  expect(await first.waitForLog(saying('hook'), 20_000)).toMatchObject({
    level: 'warn',
    hook: 'step-down',
    result,
  });
});

test('a step-down hook that hangs is killed with its forks at its timeout, and counted', async () => {
  const { first, second } = await two('hanging', [
    `--on-step-down=${stubborn('group')}`,
    '--hook-timeout=500ms',
  ]);
  const token = await first.waitFor(({ isLeader }) => isLeader, 20_000);
  await stage.cluster.etcdctl(['get', '--prefix', '/electord/hanging/']);
  first.signal('SIGTERM');
  const group = await groupIn('group');
  const next = await second.waitFor(({ isLeader }) => isLeader, 20_000);
  expect(next.receivedAt - token.receivedAt).toBeGreaterThan(500);
  expect(membersOf(group)).toEqual([]);
  expect(await first.waitForLog(saying('hook'), 20_000)).toMatchObject({ result: 'timeout' });
  expect((await within(first.exited, { withinMs: 20_000, what: 'its end' })).code).toBe(0);
});

test('an on-elected hook does not delay leadership, is ended with the term, and is counted', async () => {
  const args = [`--on-elected=${stubborn('group')}`, '--on-step-down=exec:true'];
  const { first, second } = await two('elected', args);
  const group = await groupIn('group');
  expect(membersOf(group).length).toBeGreaterThan(0);
  const metrics = async (): Promise<string> => (await first.get('/metrics')).text;
  await stage.cluster.etcdctl(['del', '--prefix', '/electord/elected/candidates/']);
  await eventually(async () => (await metrics()).includes('hook="elected",result="failed"'), {
    withinMs: 20_000,
    what: 'the count',
  });
  await eventually(async () => (await metrics()).includes('hook="step-down",result="ok"'), {
    withinMs: 20_000,
    what: 'the count of the hook after the fact',
  });
  await untilGone(group, 2000);
  await agreement([first, second]);
});

test('a hook does not outlive a killed sidecar, nor one that stands still', async () => {
  const hooks = [`--on-elected=${stubborn('group')}`];
  const { first, second } = await two('killed', hooks);
  const group = await groupIn('group');
  first.signal('SIGKILL');
  await untilGone(group, 2000);
  await second.waitFor(({ isLeader }) => isLeader, failoverWithinMs(ttlMs));
  rmSync(file('group'));
  const third = await stage.sidecar({ election: 'still', id: 'c', args: [...timing, ...hooks] });
  const other = await groupIn('group');
  third.signal('SIGSTOP');
  await untilGone(other, 2 * ttlMs);
  expect(membersOf(other)).toEqual([]);
  third.signal('SIGCONT');
});

test('without etcd the hook has what time the lease leaves, and is killed with it', async () => {
  const { first } = await two('silent', [`--on-step-down=${stubborn('group')}`]);
  const frozenAt = monotonicMs();
  for (const node of stage.cluster.nodes) node.freeze();
  const group = await groupIn('group');
  await untilGone(group, 2 * ttlMs);
  // The last renewal was sent before the freeze: the lease lasts no longer than that.
  expect(monotonicMs() - frozenAt).toBeLessThan(ttlMs);
  for (const node of stage.cluster.nodes) node.thaw();
  expect(await first.waitForLog(saying('hook'), 20_000)).toMatchObject({ result: 'timeout' });
});
