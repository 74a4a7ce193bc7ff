// The label of the leader's pod on real sidecars and a real etcd, with a stand-in for the API of Kubernetes: in a planned end it
// is gone before anybody else leads, and what a killed one leaves is removed when it comes back.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { makeCertificates, type Certificates } from '../harness/certificates.ts';
import { startKubernetesApi, type KubernetesApi } from '../harness/kubernetes-api.ts';
import { monotonicMs, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, failoverWithinMs, lapsing, openStage, printedBy, ttlMs } from './stage.ts';
import type { Stage } from './stage.ts';

const withinMs = 20_000;
const key = 'electord.io/role';

let stage: Stage;
let certificates: Certificates;
let api: KubernetesApi;

beforeAll(async () => {
  [stage, certificates] = await Promise.all([openStage({ size: 1 }), makeCertificates()]);
});
beforeEach(async () => {
  api = await startKubernetesApi(certificates);
});
afterEach(async () => {
  await stage.clear();
  await api.close();
});
afterAll(async () => {
  await stage.end();
  await certificates.remove();
});

/** A sidecar in a pod that is named like it. */
function inPod(election: string, id: string, ...args: readonly string[]): Promise<Sidecar> {
  if (!api.pods.has(id)) api.pods.set(id, {});
  return stage.sidecar({
    ...{ election, id },
    args: [
      `--kubernetes-leader-label=${key}=leader`,
      `--kubernetes-account=${api.account}`,
      ...args,
    ],
    env: { ...api.environment, POD_NAME: id },
  });
}

/** The pods that a Service with that selector would send to. */
const selected = (): readonly string[] =>
  [...api.pods].filter(([, labels]) => labels[key] === 'leader').map(([name]) => name);

/** How many pods had the label at the same time, at most. */
function mostAtOnce(changes: readonly string[]): number {
  const labelled = new Set<string>();
  return Math.max(
    ...changes.map((change) => {
      const [pod = ''] = change.split(' ');
      if (change.endsWith('=leader')) labelled.add(pod);
      else labelled.delete(pod);
      return labelled.size;
    }),
  );
}

async function isSelected(id: string): Promise<void> {
  await eventually(() => selected().join() === id, { withinMs, what: `${id}, and no other` });
}

test('a switchover and a SIGTERM: the label is never on two pods, and follows the leader', async () => {
  const ids = ['a', 'b', 'c'];
  const sidecars = await Promise.all(ids.map((id) => inPod('planned', id)));
  const { leader, others } = await agreement(sidecars);
  await isSelected(leader.id);
  const next = others[0]!;
  await printedBy(leader, 'switchover', '--to', next.id);
  await isSelected(next.id);
  expect((await next.get('/leader')).status).toBe(200);
  next.signal('SIGTERM');
  expect(await next.exited).toEqual({ code: 0, signal: null });
  const { leader: last } = await agreement(sidecars.filter((one) => one !== next));
  await isSelected(last.id);
  expect(mostAtOnce(api.changes)).toBe(1);
  const warnings = sidecars.flatMap(({ logs }) => logs).filter(({ level }) => level === 'warn');
  expect(warnings).toEqual([]);
});

test('a killed leader leaves its label: it is removed when its sidecar is started again', async () => {
  const [a, b] = [await inPod('killed', 'a', lapsing), await inPod('killed', 'b', lapsing)];
  const { leader, others } = await agreement([a, b]);
  await isSelected(leader.id);
  leader.signal('SIGKILL');
  await agreement(others, failoverWithinMs(ttlMs));
  await eventually(() => selected().length === 2, { withinMs, what: 'the label of both' });
  await inPod('killed', leader.id, lapsing);
  await isSelected(others[0]!.id);
  expect(mostAtOnce(api.changes)).toBe(2);
});

test('an API that is silent, or gives no right, costs a hand-over a second at most, and no answer', async () => {
  const [a, b] = [await inPod('silent', 'a'), await inPod('silent', 'b')];
  const { leader, others } = await agreement([a, b]);
  const next = others[0]!;
  await isSelected(leader.id);
  api.trouble = 'silence';
  const from = monotonicMs();
  leader.signal('SIGTERM');
  await next.waitFor(({ isLeader }) => isLeader, withinMs);
  expect(monotonicMs() - from).toBeLessThan(5000);
  expect(await leader.exited).toEqual({ code: 0, signal: null });
  expect(leader.output()).toContain(`the label ${key}=leader may be left on this pod`);
  api.trouble = { status: 403, message: 'pods is forbidden' };
  const line = await next.waitForLog(({ msg }) => /lacks a right/.test(String(msg)), withinMs);
  expect(line).toMatchObject({
    level: 'warn',
    msg: expect.stringContaining('with the verb patch on pods') as string,
  });
  expect((await next.get('/leader')).status).toBe(200);
});
