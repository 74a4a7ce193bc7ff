// The last millisecond of a claim, on a real socket: whatever the clock does between the report and the answer, status,
// header and body say the same, and a claim that lasts for nothing is none.
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { candidate, FakeElections } from './http-fake-elections.ts';
import { inputsOf, localOf, serveOn, type Served } from './http-serving.ts';

let served: Served | null = null;
afterEach(async () => {
  await served?.listening.close();
  served = null;
});

const paths = [
  '/leader',
  '/primary',
  '/elections/orders/leader',
  '/leader?hold=100ms',
  '/follower',
];
/** Milliseconds, in steps far below one. */
const aMoment = fc.integer({ min: -2000, max: 4000 }).map((micros) => micros / 1000);

test('who answers 200 on /leader leads for a millisecond at least, and says so everywhere', async () => {
  const elections = new FakeElections(['orders']);
  let passesMs = 0;
  // Each look at the clock is later than the one before.
  const clock = { now: () => (elections.nowMs += passesMs) };
  served = await serveOn(inputsOf(elections, { clock }), localOf());
  const { ask } = served;
  const seen = { leads: 0, doesNot: 0 };
  const answersAreOne = async (path: string, leftMs: number, tickMs: number): Promise<void> => {
    passesMs = tickMs;
    elections.know({
      candidates: [candidate('orders-0', 7n), candidate('orders-1', 8n)],
      claimUntil: elections.nowMs + leftMs,
    });
    const { status, headers, body } = await ask(path);
    const claims = status === 200;
    expect(headers['x-electord-role']).toBe(body['role']);
    if (path !== '/follower') expect(body['isLeader']).toBe(claims);
    expect(body['role'] === 'leader').toBe(body['isLeader']);
    expect(body['fencingToken'] !== null).toBe(body['isLeader']);
    expect((body['validForMs'] as number) >= 1).toBe(body['isLeader']);
    seen[body['isLeader'] === true ? 'leads' : 'doesNot'] += 1;
  };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      aMoment,
      fc.constantFrom(0, 0.1, 0.7),
      answersAreOne,
    ),
    { numRuns: 400 },
  );
  // Both were asked for often, the edge between them too.
  expect(Math.min(seen.leads, seen.doesNot)).toBeGreaterThan(40);
});
