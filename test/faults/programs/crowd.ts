// A crowd of candidates that join one election at the same time and never lead: each with a lease and a key of its own,
// as etcd's Go library makes them. All of them leave at SIGTERM.
//
// node crowd.mjs COUNT CANDIDATES_PREFIX ENDPOINT…
import { randomInt } from 'node:crypto';
import { Etcd3 } from 'etcd3';

/** Longer than the crowd stays; a crowd whose process was killed leaves by itself. */
const leaseSeconds = 60;

const [count = '0', prefix = '', ...hosts] = process.argv.slice(2);
const client = new Etcd3({ hosts });

/** Chosen here, small enough for a number of JavaScript to hold without rounding. */
const leases = Array.from({ length: Number(count) }, () => randomInt(1, 2 ** 47));

async function join(lease: number): Promise<void> {
  await client.leaseClient.leaseGrant({ ID: lease, TTL: leaseSeconds });
  const key = Buffer.from(prefix + lease.toString(16));
  await client.kv.put({ key, value: Buffer.from('one of a crowd'), lease });
}

process.on('SIGTERM', () => {
  const leaving = leases.map((ID) => client.leaseClient.leaseRevoke({ ID }));
  void Promise.allSettled(leaving).then((results) => {
    const failed = results.filter(({ status }) => status === 'rejected').length;
    // Written before the end: output to a pipe is lost at exit.
    process.stdout.write(`left ${results.length - failed}\n`, () =>
      process.exit(failed === 0 ? 0 : 1),
    );
  });
});

// Idle connections keep no process alive.
setInterval(() => undefined, 60_000);
await Promise.all(leases.map(join));
console.log(`joined ${leases.length}`);
