// The ends of a leader that cannot wait, on real sidecars: an error that nobody caught, a failed assertion, a second
// SIGTERM. Whatever it was, no claim outlives the key, the successor leads at once and not when the lease has run out, and
// the history says why.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startRelay, type Relay } from '../harness/relay.ts';
import { monotonicMs, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { Probe, staleClaims } from './claims.ts';
import { throwsAtSignal } from './misfortune.ts';
import { buildPatched, type PatchedVersion } from './patched-version.ts';
import { agreement, openStage, steadyTtlMs, type Agreement, type Stage } from './stage.ts';

let stage: Stage;
let failing: PatchedVersion;
const relays: Relay[] = [];

beforeAll(async () => {
  stage = await openStage({ size: 1 });
  // An assertion that a step-down for this reason breaks.
  failing = await buildPatched([
    {
      file: 'src/core/election.ts',
      find: 'return onStepDown(candidacy, event);',
      put: "assert(event.reason !== 'break', 'a fault of the test'); return onStepDown(candidacy, event);",
    },
  ]);
});
afterEach(async () => {
  await stage.clear();
  for (const relay of relays.splice(0)) relay.stop();
});
afterAll(async () => {
  await failing.remove();
  await stage.end();
});

/** So late an answer of etcd tells a leader of what became of its own key. */
const lateMs = 400;

type Wish = Omit<Parameters<Stage['three']>[0], 'election'>;

/** Three, of which the leader alone hears from etcd late. */
async function withALateEtcd(election: string, wish: Wish = {}): Promise<Agreement> {
  const links = new Map<Sidecar, Relay>();
  for (const id of ['a', 'b', 'c']) {
    const relay = await startRelay({ target: stage.cluster.endpoints[0]! });
    relays.push(relay);
    links.set(await stage.sidecar({ election, id, etcd: [relay.url], ...wish }), relay);
  }
  const agreed = await agreement([...links.keys()]);
  links.get(agreed.leader)!.delayMs = lateMs;
  return agreed;
}

interface TermRecord {
  readonly fencingToken: string;
  readonly cause: string | null;
  readonly endDerived?: boolean;
}

/** Brings the end about, and judges all that follows from it. */
async function endsAtOnce(
  { leader, others, token }: Agreement,
  end: () => unknown,
  expected: { readonly code: number; readonly cause: string },
): Promise<void> {
  const lease = (await leader.get<{ lease: { id: string } }>('/status')).body.lease.id;
  const probe = new Probe([leader, ...others]);
  await eventually(() => probe.of(leader).some(({ claims }) => claims !== null), {
    withinMs: 20_000,
    what: 'a claim',
  });
  const endedAt = monotonicMs();
  await end();
  const next = await eventually(
    () => probe.observations.find(({ claims }) => claims !== null && claims > BigInt(token)),
    { withinMs: steadyTtlMs - 1000, what: 'a successor that has not waited for the lease' },
  );
  expect(next.receivedAt - endedAt).toBeLessThan(steadyTtlMs / 2);
  expect(await leader.exited).toEqual({ code: expected.code, signal: null });
  const observations = await probe.end();
  expect(staleClaims(observations)).toEqual([]);
  const lastClaim = probe.of(leader).findLast(({ claims }) => claims !== null)!;
  expect(lastClaim.sentAt).toBeLessThan(next.receivedAt);
  await eventually(async () => !(await stage.leases()).includes(lease), {
    withinMs: steadyTtlMs / 2,
    what: 'the end of the lease',
  });
  const { body } = await others[0]!.get<{ terms: readonly TermRecord[] }>('/history');
  const record = body.terms.find(({ fencingToken }) => fencingToken === token);
  expect(record).toMatchObject({ cause: expected.cause, endDerived: false });
}

test('an error that nobody caught: 70, crashed', async () => {
  const agreed = await withALateEtcd('uncaught', { env: throwsAtSignal });
  const { leader } = agreed;
  await endsAtOnce(agreed, () => leader.signal('SIGUSR2'), { code: 70, cause: 'crashed' });
  expect(leader.output()).toContain('thrown by the test');
});

test('a failed assertion: 70, crashed', async () => {
  const agreed = await withALateEtcd('assertion', { program: failing.program });
  const { leader } = agreed;
  const broken = (): void => {
    const headers = { 'Content-Type': 'application/json' };
    const body = JSON.stringify({ reason: 'break' });
    leader
      .get('/step-down', { method: 'POST', local: true, headers, body })
      .catch(() => 'it ends before it answers');
  };
  await endsAtOnce(agreed, broken, { code: 70, cause: 'crashed' });
  expect(leader.output()).toContain('a fault of the test');
});

test('a second SIGTERM while the step-down hangs: 143, stopping', async () => {
  const hangs = '--on-step-down=exec:trap "" TERM; while :; do sleep 1000; done';
  const agreed = await withALateEtcd('impatient', { args: [hangs] });
  const { leader } = agreed;
  const twice = async (): Promise<void> => {
    leader.signal('SIGTERM');
    await leader.waitForLog(({ msg }) => String(msg).includes('stepping down'), 20_000);
    leader.signal('SIGTERM');
  };
  await endsAtOnce(agreed, twice, { code: 143, cause: 'stopping' });
});

test('a hold outlasts even that: nobody else leads before it is over', async () => {
  const args = ['--max-hold=3s'];
  const sidecars = await stage.three({ election: 'held', env: throwsAtSignal, args });
  const { leader, others, token } = await agreement(sidecars);
  const held = await leader.get<{ heldForMs: number }>('/leader?hold=1500ms', { local: true });
  expect(held.body.heldForMs).toBeGreaterThan(1000);
  leader.signal('SIGUSR2');
  const next = await Promise.race(
    others.map((other) => other.waitFor(({ isLeader }) => isLeader, steadyTtlMs - 1000)),
  );
  expect(next.receivedAt).toBeGreaterThan(held.sentAt + held.body.heldForMs);
  expect(BigInt(next.body.fencingToken!)).toBeGreaterThan(BigInt(token));
  expect((await leader.exited).code).toBe(70);
});
