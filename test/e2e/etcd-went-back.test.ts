// An etcd that comes back empty, and two etcd clusters in one list: nobody of the old world is named for longer than a
// TTL, nobody leads with a token that was given before, the reason is told wherever an operator looks, and etcd is asked
// no faster than while it is away.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { projectFolder } from '../harness/binaries.ts';
import { startEtcdCluster } from '../harness/etcd.ts';
import { reservePort } from '../harness/ports.ts';
import { monotonicMs, type LeaderAnswer, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { join } from 'node:path';
import { Probe, staleClaims } from './claims.ts';
import { agreement, lapsing, openStage, ttlMs, type Stage } from './stage.ts';

interface Checks {
  readonly checks: { readonly etcd: { readonly ok: boolean; readonly detail: string } };
}
interface Status {
  readonly etcd: { readonly trouble: string | null };
}

async function counted(sidecar: Sidecar, operation: string): Promise<number> {
  const { text } = await sidecar.get('/metrics');
  const lines = [...text.matchAll(/^electord_etcd_requests_total\{(.*)\} (\d+)$/gm)];
  return lines
    .filter(([, labels]) => labels!.includes(`op="${operation}"`))
    .reduce((sum, [, , count]) => sum + Number(count), 0);
}

describe.each(['3.4', '3.5.30'] as const)('etcd %s', (version) => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage({ size: 1, version });
  });
  afterEach(() => stage.clear());
  afterAll(() => stage.end());

  test('comes back empty: no old name beyond a TTL, no leader, the reason, and no haste', async () => {
    const node = stage.cluster.nodes[0]!;
    for (let count = 0; count < 20; count += 1) await stage.cluster.etcdctl(['put', 'x', 'y']);
    const sidecars = await stage.three({ election: 'emptied', args: [lapsing] });
    const { leader, token } = await agreement(sidecars);
    const probe = new Probe(sidecars);
    await node.forget();
    const killedAt = monotonicMs();
    await node.restart();
    const refuses = async (sidecar: Sidecar): Promise<boolean> => {
      const { body } = await sidecar.get<LeaderAnswer>('/leader');
      const health = await sidecar.get<Checks>('/health');
      const reason = /gone back to revision/.test(health.body.checks.etcd.detail);
      return body.role === 'unknown' && body.leader === null && health.status === 503 && reason;
    };
    await eventually(async () => (await Promise.all(sidecars.map(refuses))).every(Boolean), {
      withinMs: ttlMs + 20_000,
      what: 'a refusal of every sidecar',
    });
    const asked = await Promise.all(sidecars.map((one) => counted(one, 'join')));
    const observedBefore = await counted(leader, 'observe');
    // A dozen rounds: more than a TTL.
    await eventually(async () => (await counted(leader, 'observe')) >= observedBefore + 12, {
      withinMs: 30_000,
      what: 'a dozen rounds',
    });
    for (const [index, sidecar] of sidecars.entries()) {
      expect(await refuses(sidecar)).toBe(true);
      expect((await sidecar.get('/readyz')).status).toBe(503);
      expect((await sidecar.get<Status>('/status')).body.etcd.trouble).toMatch(/gone back/);
      const { text } = await sidecar.get('/metrics');
      expect(text).toMatch(/electord_etcd_trouble\{.*reason="went_back".*\} 1/);
      expect(text).toMatch(/electord_etcd_up\{.*\} 0/);
      await sidecar.waitForLog((line) => line['code'] === 'etcd_went_back', 20_000);
      expect((await counted(sidecar, 'join')) - asked[index]!).toBeLessThan(30);
    }
    const observations = await probe.end();
    const late = observations.filter(({ sentAt }) => sentAt > killedAt + ttlMs);
    expect(late.length).toBeGreaterThan(0);
    expect(late.filter(({ knows }) => knows !== null)).toEqual([]);
    expect(staleClaims(observations)).toEqual([]);
    expect(await stage.keys('emptied')).toEqual([]);

    // What an operator does: etcd is raised above every token that was given.
    await eventually(
      async () => {
        const answer = await stage.cluster.etcdctl(['put', 'raised', 'x', '--write-out=json']);
        const { header } = JSON.parse(answer) as { header: { revision: number } };
        return BigInt(header.revision) > BigInt(token) + 20n;
      },
      { withinMs: 60_000, what: 'a revision above the token' },
    );
    const after = await agreement(sidecars, 3 * ttlMs + 20_000);
    expect(BigInt(after.token)).toBeGreaterThan(BigInt(token));
  });

  test('with another cluster in the list it does not start, and says which two they are', async () => {
    const other = await startEtcdCluster({ size: 1, version });
    try {
      const endpoints = [...stage.cluster.endpoints, ...other.endpoints].join(',');
      const child = await spawnGuarded({
        file: process.execPath,
        args: [
          ...[join(projectFolder, 'dist', 'electord.js'), 'serve', '--election=mixed'],
          ...[`--etcd=${endpoints}`, `--listen=127.0.0.1:${await reservePort()}`],
          `--local-listen=127.0.0.1:${await reservePort()}`,
        ],
        env: {},
      });
      const { code } = await child.exited;
      expect(child.recentOutput()).toMatch(/belongs to etcd cluster [0-9a-f]+, and ours is/);
      expect(code).toBe(78);
    } finally {
      await other.stop();
    }
  });
});
