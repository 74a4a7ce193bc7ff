// `electord dev --once`: the failover and the planned hand-over as a script with an end, for machines.
// Promises to throw, with the reason, at the first thing that is not as it should be, and to take less
// than a minute.
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeMs, type Observer, type Reign } from './observer.ts';
import { FAST_FAILOVER_MS, TTL_SECONDS, type Place, type Stage } from './stage.ts';

/** From the start of the processes to the first leader. */
const ELECTION_BOUND_MS = 20_000;
/** At the worst a lease of TTL_SECONDS and up to half a second of etcd's own, and slack for a busy machine. */
const FAILOVER_BOUND_MS = (TTL_SECONDS + 12) * 1000;
/** From the election to its witnesses: a few answers of etcd, and slack for a busy machine. */
const WITNESSES_BOUND_MS = 10_000;
const ORDER_BOUND_MS = 3_000;

/** Elects, kills the leader, hands over, and says what it saw. */
export async function playOnce(
  stage: Stage,
  observer: Observer,
  say: (line: string) => void,
): Promise<void> {
  const startedAtMs = performance.now();
  const first = await observer.reignAfter(-1n, ELECTION_BOUND_MS);
  const tookMs = first.firstSeenMs - startedAtMs;
  say(
    `elected: ${first.place.id} leads, fencing token ${first.fencingToken} (${describeMs(tookMs)})`,
  );
  await placeOrders(stage.places, first, say);
  await untilWitnessed(first, stage.places.length - 1, say);

  observer.hurry();
  const second = await killLeader(first, observer, say);
  const third = await handOver(second, observer, say);
  await placeOrders([third.place], third, say);
}

/** A leader that has no witnesses yet would be missed for a TTL. */
async function untilWitnessed(
  { place }: Reign,
  wanted: number,
  say: (line: string) => void,
): Promise<void> {
  const giveUpAtMs = performance.now() + WITNESSES_BOUND_MS;
  for (;;) {
    const { text } = await ask(`${place.sidecar.url}/status`);
    const { failover } = JSON.parse(text) as { failover: { witnesses: readonly string[] } | null };
    const witnesses = failover?.witnesses ?? [];
    const after = describeMs(FAST_FAILOVER_MS);
    if (witnesses.length >= wanted) {
      say(`witnesses: ${witnesses.join(' and ')} would replace ${place.id} after ${after}`);
      return;
    }
    if (performance.now() > giveUpAtMs) throw new Error(`${place.id} found no witnesses: ${text}`);
    await sleep(20);
  }
}

async function killLeader(
  leader: Reign,
  observer: Observer,
  say: (line: string) => void,
): Promise<Reign> {
  const { id, sidecar, app } = leader.place;
  const killedAtMs = performance.now();
  sidecar.child?.signal('SIGKILL');
  app.child?.signal('SIGKILL');
  say(
    `killed: ${id}, its sidecar (kill -9 ${sidecar.child?.pid ?? 0}) ` +
      `and its app (kill -9 ${app.child?.pid ?? 0})`,
  );
  const next = await observer.reignAfter(leader.fencingToken, FAILOVER_BOUND_MS);
  assertOther(next, leader);
  say(
    `elected: ${next.place.id} leads, fencing token ${next.fencingToken} > ${leader.fencingToken}; ` +
      `nobody led for ${describeMs(next.firstSeenMs - killedAtMs)} ` +
      `(fast failover after ${describeMs(FAST_FAILOVER_MS)}, TTL ${TTL_SECONDS} s)`,
  );
  return next;
}

async function handOver(
  leader: Reign,
  observer: Observer,
  say: (line: string) => void,
): Promise<Reign> {
  const { id, sidecar } = leader.place;
  const { child } = sidecar;
  if (child === null) throw new Error(`${id} has no process`);
  const askedAtMs = performance.now();
  child.signal('SIGTERM');
  say(`asked to stop: ${id} (kill ${child.pid})`);
  const next = await observer.reignAfter(leader.fencingToken, FAILOVER_BOUND_MS);
  assertOther(next, leader);
  say(
    `elected: ${next.place.id} leads, fencing token ${next.fencingToken} > ${leader.fencingToken}; ` +
      `${describeMs(next.firstSeenMs - askedAtMs)} after ${id} was asked to stop`,
  );
  return next;
}

function assertOther(next: Reign, previous: Reign): void {
  if (next.place.id === previous.place.id) {
    throw new Error(`${next.place.id} was to be followed by another, and leads again`);
  }
}

/** Orders go to these apps: the leader's takes them, the others send the customer on. */
async function placeOrders(
  places: readonly Place[],
  leader: Reign,
  say: (line: string) => void,
): Promise<void> {
  for (const place of places) {
    const expected = place.id === leader.place.id ? 201 : 307;
    const { code, text } = await placeOrder(place, expected);
    if (code !== expected) {
      throw new Error(`an order at ${place.id} got ${code}, expected ${expected}: ${text}`);
    }
    const meaning = code === 201 ? 'taken' : `sent on to ${leader.place.id}`;
    say(`order: POST ${place.app.url}/orders at ${place.id} → ${code}, ${meaning}`);
  }
}

/** A follower may hear of a new leader a moment after the leader itself: asks until then. */
async function placeOrder(place: Place, expected: number): Promise<{ code: number; text: string }> {
  const giveUpAtMs = performance.now() + ORDER_BOUND_MS;
  for (;;) {
    const answer = await ask(`${place.app.url}/orders`, 'POST', 'tea').catch((error: unknown) => ({
      code: 0,
      text: String(error),
    }));
    if (answer.code === expected || performance.now() > giveUpAtMs) return answer;
    await sleep(50);
  }
}

function ask(url: string, method = 'GET', body = ''): Promise<{ code: number; text: string }> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(ORDER_BOUND_MS);
    const asked = request(url, { method, signal }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('error', reject);
      response.on('end', () => {
        resolve({ code: response.statusCode ?? 0, text });
      });
    });
    asked.on('error', reject);
    asked.end(body);
  });
}
