// Whoever steps down says so to the others at once: while its hook takes its time and its key stays, they name nobody.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { LeaderAnswer, Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { Probe, staleClaims } from './claims.ts';
import { agreement, openStage, type Stage } from './stage.ts';

const withinMs = 20_000;

let stage: Stage;
let folder: string;

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'electord-concession-'));
});
afterEach(async () => {
  await stage.clear();
  rmSync(folder, { recursive: true, force: true });
});
afterAll(() => stage.end());

interface Status extends LeaderAnswer {
  readonly leaderlessAtMostMs: number | null;
  readonly steppingDown: boolean;
}

const statusOf = async (one: Sidecar): Promise<Status> =>
  (await one.get<Status>('/status', { local: true })).body;

/** The key that leads the queue. */
const firstOf = async (election: string): Promise<string> => {
  const tree = `/electord/${election}/candidates/`;
  const first = [
    'get',
    '--prefix',
    tree,
    '--sort-by=CREATE',
    '--order=ASCEND',
    '--limit=1',
    '--keys-only',
  ];
  return (await stage.cluster.etcdctl(first)).trim();
};
const valueOf = async (key: string): Promise<string> =>
  stage.cluster.etcdctl(['get', '--print-value-only', key]);

test.each(['a step-down', 'SIGTERM'])(
  'while the hook of %s runs the others name nobody, and its end is what they wait for',
  async (how) => {
    const election = how === 'SIGTERM' ? 'stopped' : 'resigned';
    const [begun, done] = [join(folder, 'begun'), join(folder, 'done')];
    const hook = `exec:touch ${begun}; until [ -e ${done} ]; do sleep 0.05; done`;
    const sidecars = await stage.three({ election, args: [`--on-step-down=${hook}`] });
    const { leader, others, token } = await agreement(sidecars);
    const probe = new Probe(sidecars);
    const key = await firstOf(election);
    const asked = { local: true, method: 'POST', body: '{}', timeoutMs: 60_000 };
    const headers = { 'content-type': 'application/json' };
    if (how === 'SIGTERM') leader.signal('SIGTERM');
    const verb = how === 'SIGTERM' ? null : leader.get('/step-down', { ...asked, headers });
    await eventually(() => existsSync(begun), { withinMs, what: 'the hook' });
    for (const other of others) {
      await other.waitFor((answer) => answer.leader === null, withinMs);
      // It follows as before, and serves readers.
      expect((await other.get('/follower')).status).toBe(200);
      const status = await statusOf(other);
      expect(status).toMatchObject({ role: 'follower', leader: null });
      expect(status.leaderlessAtMostMs).toBeGreaterThan(0);
    }
    // All that while its key is there, first in the queue, and says so.
    expect(existsSync(done)).toBe(false);
    expect(await stage.keys(election)).toContain(key);
    const cause = how === 'SIGTERM' ? 'stopping' : 'resigned';
    expect(await valueOf(key)).toContain(`"conceded":{"cause":"${cause}"`);
    expect(await statusOf(leader)).toMatchObject({ steppingDown: true, leader: null });
    writeFileSync(done, '');
    const next = await agreement(others, withinMs);
    expect(BigInt(next.token)).toBeGreaterThan(BigInt(token));
    if (verb !== null) expect((await verb).status).toBe(200);
    expect(staleClaims(await probe.end())).toEqual([]);
  },
);
