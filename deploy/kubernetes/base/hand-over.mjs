// Run by Kubernetes in the sidecar's container when its pod begins to end (preStop), while the app still
// runs: a leader hands over to the healthy candidate that stands last in the queue. In a rollout that is
// a pod that was replaced already, or is new, and will not be replaced again; the next in the queue may
// well be the next to go. Whatever goes wrong, the pod ends: SIGTERM makes the sidecar resign anyway.
//
// node hand-over.mjs      (asks ELECTORD_LOCAL_URL, http://127.0.0.1:4041 where nothing is set)
const { fetch, AbortSignal } = globalThis;
const sidecar = process.env.ELECTORD_LOCAL_URL ?? 'http://127.0.0.1:4041';
/** A switchover waits for the successor's first word; far below the time that the pod is given to end. */
const withinMs = 8000;

async function ask(path, init = {}) {
  const signal = AbortSignal.timeout(withinMs);
  const answer = await fetch(sidecar + path, { ...init, signal });
  return answer.json();
}

async function handOver({ election, isLeader, id }) {
  if (!isLeader) return `${id} does not lead ${election}`;
  const { members } = await ask(`/elections/${election}/members`);
  const able = members.filter((one) => one.id !== id && one.place && one.healthy && one.native);
  const successor = able.sort((a, b) => b.place - a.place)[0];
  if (successor === undefined) return `${id} leads ${election}, and nobody can take over`;
  const body = JSON.stringify({ to: successor.id, reason: 'its pod ends' });
  const headers = { 'Content-Type': 'application/json' };
  const path = `/elections/${election}/switchover`;
  return (await ask(path, { method: 'POST', headers, body })).detail;
}

try {
  const { elections } = await ask('/elections');
  const outcomes = await Promise.allSettled(elections.map(handOver));
  for (const { value, reason } of outcomes) console.log(value ?? String(reason));
} catch (failure) {
  console.log(`nothing was handed over: ${failure}`);
}
process.exit(0);
