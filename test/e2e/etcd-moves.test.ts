// An etcd that moves under sidecars that run: other endpoints at SIGHUP, of the same cluster and of another, and members
// that are replaced one by one until none of those is left that were named at the start. The leader keeps its term.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startEtcdCluster } from '../harness/etcd.ts';
import { startRelay } from '../harness/relay.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { Probe, staleClaims } from './claims.ts';
import { agreement, openStage, type Stage } from './stage.ts';

const saidWithinMs = 30_000;

let stage: Stage;
let folder = '';
const cleanups: (() => unknown)[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'electord-moves-'));
});
afterEach(async () => {
  await stage.clear();
  for (const cleanup of cleanups.splice(0)) await cleanup();
  await stage.end();
  await rm(folder, { recursive: true, force: true });
});

async function said(sidecars: readonly Sidecar[], what: RegExp): Promise<void> {
  const saysSo = (one: Sidecar) =>
    one.waitForLog((line) => what.test(JSON.stringify(line)), saidWithinMs);
  await Promise.all(sidecars.map(saysSo));
}

/** Waits for renewals that succeeded after this. */
async function renewedAgain(sidecars: readonly Sidecar[]): Promise<void> {
  const count = async (sidecar: Sidecar): Promise<number> => {
    const { text } = await sidecar.get('/metrics');
    return Number(/^electord_renewals_total\{.*result="ok".*\} (\d+)/m.exec(text)?.[1] ?? 0);
  };
  const again = async (sidecar: Sidecar): Promise<void> => {
    const before = await count(sidecar);
    const enough = async (): Promise<boolean> => (await count(sidecar)) >= before + 2;
    await eventually(enough, { withinMs: 30_000, what: `two more renewals of ${sidecar.id}` });
  };
  await Promise.all(sidecars.map(again));
}

/** Nobody has led but the leader, in its one term, and it has never stopped. */
async function keptThroughout(probe: Probe, leader: Sidecar, token: string): Promise<void> {
  const observations = await probe.end();
  const own = probe.of(leader);
  expect(own.length).toBeGreaterThan(10);
  expect(own.filter(({ claims }) => claims !== BigInt(token))).toEqual([]);
  expect(staleClaims(observations)).toEqual([]);
}

describe.each(['3.4', '3.5.30'] as const)('etcd %s', (version) => {
  test('SIGHUP takes up other endpoints of the same cluster, and refuses those of another', async () => {
    stage = await openStage({ size: 1, version });
    const [endpoint = ''] = stage.cluster.endpoints;
    // The addresses that etcd has of itself say nothing about these: it is SIGHUP that is followed.
    const [old, next] = [
      await startRelay({ target: endpoint }),
      await startRelay({ target: endpoint }),
    ];
    const other = await startEtcdCluster({ size: 1, version });
    cleanups.push(
      () => old.stop(),
      () => next.stop(),
      other.stop,
    );
    const config = join(folder, 'config.json');
    const configure = (etcd: readonly string[], logLevel: string): Promise<void> =>
      writeFile(config, JSON.stringify({ etcd, logLevel }));
    await configure([old.url], 'info');
    const args = [`--config=${config}`];
    const sidecars = await stage.three({ election: 'moves', etcd: null, args });
    const { leader, token } = await agreement(sidecars);
    const probe = new Probe(sidecars);

    await configure([next.url], 'debug');
    for (const sidecar of sidecars) sidecar.signal('SIGHUP');
    await said(sidecars, /read anew/);
    old.refuse();
    old.reset();
    await renewedAgain(sidecars);

    await configure(other.endpoints, 'error');
    for (const sidecar of sidecars) sidecar.signal('SIGHUP');
    await said(
      sidecars,
      /nothing was reloaded.*belongs to etcd cluster|belongs to etcd cluster.*nothing was reloaded/,
    );
    await renewedAgain(sidecars);
    expect(await other.etcdctl(['get', '', '--from-key'])).toBe('');
    expect((await agreement(sidecars)).token).toBe(token);
    await keptThroughout(probe, leader, token);
    // Nothing else of what was refused was taken up either.
    const ended = Promise.all(sidecars.map((sidecar) => sidecar.stop()));
    await said(sidecars, /asked to stop/);
    await ended;
  });

  test(
    'members are replaced until none is left of those that were named',
    { timeout: 120_000 },
    async () => {
      // It would have five seconds pass before each change.
      const extraArgs = ['--strict-reconfig-check=false'];
      stage = await openStage({ size: 3, version, extraArgs });
      const { cluster } = stage;
      const first = [...cluster.nodes];
      const sidecars = await stage.three({ election: 'replaced' });
      const { leader, token } = await agreement(sidecars);
      const probe = new Probe(sidecars);
      for (const node of first) {
        const added = await cluster.add();
        // Two of the first are still there for whoever has not heard of the new ones.
        if (node === first.at(-1)) await said(sidecars, new RegExp(added.clientUrl));
        await cluster.remove(node);
      }
      expect(cluster.nodes.filter((node) => first.includes(node))).toEqual([]);
      await renewedAgain(sidecars);
      expect((await agreement(sidecars)).token).toBe(token);
      await keptThroughout(probe, leader, token);
      const successor = await leader
        .stop()
        .then(() => agreement(sidecars.filter((one) => one !== leader)));
      expect(BigInt(successor.token)).toBeGreaterThan(BigInt(token));
    },
  );
});
