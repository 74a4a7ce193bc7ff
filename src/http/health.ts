// The checks behind `/health`, `/readyz` and `/livez`. Each failing check is named and says why.
import type { HealthAnswer } from '../contract.ts';
import type { Inputs } from './inputs.ts';

type Check = HealthAnswer['checks'][string];

/** So many elections without known state are named; the rest are counted. */
const namedAtMost = 5;

/** A loop that stalls for half a TTL soon costs a renewal; under a second a stall harms no TTL that is allowed. */
const loopDelayLimitMs = (ttlMs: number): number => Math.max(1000, ttlMs / 2);

function answer(checks: Readonly<Record<string, Check>>): HealthAnswer {
  const ok = Object.values(checks).every((check) => check.ok);
  return { status: ok ? 'ok' : 'failing', checks };
}

/** Why etcd, an endpoint of it or what was configured anew is not used, beyond not answering; null where it is. */
export function etcdTrouble({ health }: Inputs): string | null {
  const { wentBack = null, leftOut = [], notTakenUp = null } = health.etcd?.() ?? {};
  const reasons = [wentBack, ...leftOut, notTakenUp].filter((one) => one !== null);
  return reasons.length === 0 ? null : reasons.join('; ');
}

function etcdCheck(inputs: Inputs): Check {
  const { elections, health } = inputs;
  const contact = elections.contact();
  const ttlMs = elections.ttlMs();
  const trouble = etcdTrouble(inputs);
  const more = trouble === null ? '' : `; ${trouble}`;
  if (contact === null) return { ok: false, detail: `etcd has not answered yet${more}` };
  const { ageMs, tookMs } = contact;
  const detail = `asked ${Math.round(ageMs)} ms ago, answered in ${Math.round(tookMs)} ms; the TTL is ${ttlMs} ms${more}`;
  return { ok: ageMs < ttlMs && (health.etcd?.().wentBack ?? null) === null, detail };
}

function eventLoopCheck({ elections, health }: Inputs): Check {
  const delayMs = health.loopDelayMs();
  const limitMs = loopDelayLimitMs(elections.ttlMs());
  const detail = `at most ${Math.round(delayMs)} ms late; the limit is ${Math.round(limitMs)} ms`;
  return { ok: delayMs < limitMs, detail };
}

/** `/health`: etcd answered within one TTL, the app's check passes (or there is none), the event loop turns. */
export function healthAnswer(inputs: Inputs): HealthAnswer {
  const { healthy, detail } = inputs.health.app();
  return answer({
    etcd: etcdCheck(inputs),
    app: { ok: healthy, detail },
    eventLoop: eventLoopCheck(inputs),
  });
}

/** `/readyz`: the state of every election is known, and this instance is not stopping. */
export function readinessAnswer({ elections }: Inputs): HealthAnswer {
  const unknown = elections.names.filter((name) => elections.report(name).role === 'unknown');
  const rest = unknown.length - namedAtMost;
  const named = unknown.slice(0, namedAtMost).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
  const stopping = elections.isStopping();
  return answer({
    elections: {
      ok: unknown.length === 0,
      detail: unknown.length === 0 ? 'the state is known' : `no recent knowledge of ${named}`,
    },
    running: { ok: !stopping, detail: stopping ? 'stopping' : 'not stopping' },
  });
}

/** `/livez`: that there is an answer is the answer; etcd and the app play no part. */
export const livenessAnswer = (): HealthAnswer => answer({});
