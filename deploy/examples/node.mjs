// Work that only the leader does, in Node, with the client that comes with electord.
//   node node.mjs          ELECTORD_LOCAL_URL says where the sidecar is; default http://127.0.0.1:4041
//                          ELECTORD_TOKEN is the bearer token, where the sidecar has one
import { connect } from 'electord/client';
import { setTimeout as delay } from 'node:timers/promises';

const electord = connect({ token: process.env.ELECTORD_TOKEN });
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => electord.close());

// Runs for each term of this instance. The signal aborts in time: when the term ends, when the sidecar falls silent, and
// before what the sidecar promised runs out, counted from before it was asked.
await electord.whileLeader(async (term, signal) => {
  while (!signal.aborted) {
    await work(term.fencingToken, signal);
    await delay(200, undefined, { signal });
  }
});

// Pass the fencing token on to whatever you write to, which refuses a lower one than it has seen: this process may be
// stopped by the system at any line, and go on when another leads.
async function work(fencingToken, signal) {
  signal.throwIfAborted();
  console.log(`work done, fencing token ${fencingToken}`);
}
