// The judge of writes through the proxies, on arrivals and answers made up for it: what is a breach, and what is not.
import { expect, test } from 'vitest';
import type { Answer } from './answer-line.ts';
import type { FaultRecord } from './scene.ts';
import {
  describeMisdelivery,
  formatArrival,
  formatWrite,
  judgeTraffic,
  pathOf,
  takeLine,
} from './writes.ts';
import type { Arrival, Deliveries, Write } from './writes.ts';

/** A claim that was received at this time. */
const claim = (from: string, term: bigint, receivedAt: number): Answer => ({
  ...{ from, sentAt: receivedAt - 10, receivedAt, status: 200, claims: term, names: term },
  ...{ validForMs: 0, wallMs: Number.NaN },
});

/** A write that was under way for 10 ms. */
const arrival = (
  app: string,
  term: bigint,
  sentAt: number,
  more: Partial<Arrival> = {},
): Arrival => ({
  ...{ write: `http-c-${sentAt}`, sentAt, method: 'POST', app, at: sentAt + 10, term },
  ...more,
});

const fault = (more: Partial<FaultRecord>): FaultRecord => ({
  ...{ kind: 'made-up', target: '', startedAt: 0, healedAt: 50, settledAt: 100, effect: '' },
  ...{ leaderDue: 'throughout', plannedEnds: [], administered: [], revokedByEtcd: [] },
  ...{ withoutEtcd: [], revived: null },
  ...more,
});

const judged = (
  arrivals: readonly Arrival[],
  answers: readonly Answer[] = [],
  faults: readonly FaultRecord[] = [],
  watchLatencyMs: number | null = null,
): Deliveries => judgeTraffic({ writes: [], arrivals }, answers, faults, { watchLatencyMs });
const rulesOf = ({ misdeliveries }: Deliveries): readonly string[] =>
  misdeliveries.map(({ rule }) => rule);

test('a write sent after another one has reached the app of a newer term is misled by reaching an older one', () => {
  // '10' < '6' as text: terms are numbers.
  const newer = arrival('b', 10n, 90);
  const { misdeliveries } = judged([newer, arrival('a', 6n, 101), arrival('a', 6n, 102)]);
  expect(misdeliveries).toMatchObject([{ rule: 'misled', count: 2, arrival: { sentAt: 101 } }]);
  expect(describeMisdelivery(misdeliveries[0]!)).toBe(
    'misled, during no fault, 2 writes: POST http-c-101 reached the app of a in 6, 10.0 ms after it was sent, but the app of b was reached in 10 1.0 ms before it was sent',
  );
  // Sent before that, it may have been sent on before that as well, however late it arrives.
  expect(rulesOf(judged([newer, arrival('a', 6n, 100, { at: 500 })]))).toEqual([]);
  expect(rulesOf(judged([newer, arrival('b', 10n, 500), arrival('c', 11n, 900)]))).toEqual([]);
});

test('so it is after a sidecar has claimed the newer term, though no app was reached in it', () => {
  const claims = [claim('b', 7n, 100), claim('b', 7n, 110)];
  expect(rulesOf(judged([arrival('a', 6n, 101)], claims))).toEqual(['misled']);
  expect(rulesOf(judged([arrival('a', 6n, 99)], claims))).toEqual([]);
});

test('a request without a term is none of a leader; bytes are those of the newest that the app may have', () => {
  const bytes = (app: string, sentAt: number): Arrival => ({
    ...arrival(app, 0n, sentAt),
    ...{ write: `tcp-c-${sentAt}`, term: null },
  });
  const claims = [claim('a', 6n, 100), claim('b', 7n, 200), claim('a', 8n, 300)];
  const request = { ...bytes('a', 101), write: 'http-c-1' };
  expect(rulesOf(judged([request], claims))).toEqual(['misled']);
  expect(rulesOf(judged([bytes('a', 199), bytes('b', 201), bytes('b', 300)], claims))).toEqual([]);
  expect(rulesOf(judged([bytes('b', 301)], claims))).toEqual(['misled']);
  // Of its next term it is certain that it had not begun when a question was asked which it did not answer with that.
  const without = { ...claim('a', 6n, 290), claims: null };
  const known = [claims[0]!, claims[1]!, without, claims[2]!];
  expect(rulesOf(judged([bytes('a', 250)], known))).toEqual(['misled']);
  expect(rulesOf(judged([bytes('a', 270)], known))).toEqual([]);
});

test('a write that reaches another app than that of the sidecar which claims the term went beside it', () => {
  const claims = [claim('b', 7n, 500)];
  expect(rulesOf(judged([arrival('a', 7n, 100)], claims))).toEqual(['beside']);
  expect(rulesOf(judged([arrival('b', 7n, 100)], claims))).toEqual([]);
});

test('what may not be repeated arrives once; what may be, as often as it likes', () => {
  const first = arrival('a', 6n, 100, { write: 'http-c-1' });
  const second = arrival('b', 7n, 100, { write: 'http-c-1', at: 300 });
  expect(rulesOf(judged([first, second]))).toEqual(['twice']);
  expect(judged([first, second]).arrivals).toBe(1);
  const repeatable = [first, second].map((one) => ({ ...one, method: 'PUT' }));
  expect(rulesOf(judged(repeatable))).toEqual([]);
});

test('of a term that was taken away nothing is excused but where the successor does not wait', () => {
  const newer = arrival('b', 7n, 90);
  const late = arrival('a', 6n, 101);
  const taken = [fault({ administered: [6n] })];
  expect(rulesOf(judged([newer, late], [], taken))).toEqual(['misled']);
  const verdict = judged([newer, late], [], taken, 50);
  expect([rulesOf(verdict), verdict.excused.length]).toEqual([[], 1]);
  expect(judged([newer, late], [], taken, 50).excused[0]?.during).toBe('made-up');
});

test('writes and arrivals survive their way from the app, and are counted', () => {
  const traffic: { writes: Write[]; arrivals: Arrival[] } = { writes: [], arrivals: [] };
  const write = { write: 'http-a-1', sentAt: 1.5, endedAt: 4, result: 'ECONNRESET' };
  takeLine('a', formatWrite(write), traffic);
  takeLine('a', formatWrite({ ...write, write: 'http-a-2', endedAt: 2, result: '200' }), traffic);
  takeLine('b', formatArrival(pathOf(write), { method: 'PUT', at: 3.25, token: '12' }), traffic);
  expect(traffic.arrivals).toEqual([
    { write: 'http-a-1', sentAt: 1.5, method: 'PUT', app: 'b', at: 3.25, term: 12n },
  ]);
  expect(judgeTraffic(traffic, [], [], { watchLatencyMs: null })).toEqual({
    ...{ misdeliveries: [], excused: [], writes: 2, arrivals: 1, terms: 1, longestMs: 2.5 },
    results: new Map([
      ['ECONNRESET', 1],
      ['200', 1],
    ]),
  });
  expect(() => takeLine('a', 'write http-a-1 1.5', traffic)).toThrow(
    'the app of a wrote: write http-a-1',
  );
});
