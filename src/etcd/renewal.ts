// One renewal as a stream of its own: a request with a deadline, unlike a long-lived stream, on which an answer that
// does not come cannot be told from one that is late, and an old answer not from a new one.
import type { ILeaseKeepAliveResponse } from 'etcd3';
import type { LeaseId } from '../core/model.ts';
import { Unreachable } from '../errors.ts';
import type { Endpoint } from './endpoint.ts';
import { leaseToDecimal } from './keys.ts';

/** Renews `lease` once; in the answer is the TTL granted in seconds, 0 where the lease is no more. */
export async function renewOnce(
  endpoint: Endpoint,
  lease: LeaseId,
  limitMs: number,
): Promise<ILeaseKeepAliveResponse> {
  const { stream, forget } = await endpoint.open(({ leaseClient }) =>
    leaseClient.leaseKeepAlive(endpoint.within(limitMs)),
  );
  try {
    return await new Promise<ILeaseKeepAliveResponse>((resolve, reject) => {
      stream.on('error', reject);
      stream.on('end', () => {
        reject(new Unreachable('etcd ended the renewal without an answer'));
      });
      stream.on('data', (answer) => {
        resolve(answer);
      });
      stream.write({ ID: leaseToDecimal(lease) });
    });
  } finally {
    forget();
    // Ended before it is cancelled: etcd3 takes an error on a writable stream for a failed host.
    stream.end();
    stream.cancel();
  }
}
