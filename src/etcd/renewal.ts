// What one endpoint is asked about a lease. A renewal is a stream of its own: a request with a deadline, unlike a long-lived stream, on which an answer that
// does not come cannot be told from one that is late, and an old answer not from a new one.
import type { ILeaseKeepAliveResponse, IResponseHeader } from 'etcd3';
import type { LeaseId } from '../core/model.ts';
import { Unreachable } from '../errors.ts';
import type { LeaseTime } from '../ports.ts';
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

/**
 * How long `lease` will last, null where the answer does not count. A former leader of etcd that was frozen would answer from
 * the past, but gives no linearizable read in that term: so one is asked for, under `prefix`.
 */
export async function askTimeOnce(
  endpoint: Endpoint,
  lease: LeaseId,
  prefix: string,
  limitMs: number,
): Promise<{ readonly header: IResponseHeader; readonly time: LeaseTime | null }> {
  const { leaseClient, kv } = endpoint.client();
  const within = endpoint.within(limitMs);
  const answer = await leaseClient.leaseTimeToLive({ ID: leaseToDecimal(lease) }, within);
  const { header } = await kv.range({ key: Buffer.from(`${prefix}/`), count_only: true }, within);
  const { raft_term: etcdTerm } = header;
  const grantedMs = Number(answer.grantedTTL) * 1000;
  const remainingMs = Math.max(0, Number(answer.TTL)) * 1000;
  const counts = grantedMs > 0 && answer.header.raft_term === etcdTerm;
  return { header, time: counts ? { remainingMs, grantedMs, etcdTerm } : null };
}
