// How much a sidecar asks of etcd, as one line of text a second from its probe to the run: by its own count, and by the
// packets that leave its host, which counts every attempt, connection and ping of whatever make.

/** Both are counted from a start: of the process, and of the host. */
export interface Sample {
  /** The sidecar's id. */
  readonly from: string;
  /** In ms of CLOCK_MONOTONIC. */
  readonly at: number;
  /** Requests to etcd that have ended; NaN where it does not say. */
  readonly requests: number;
  /** Sent to other hosts: for etcd nearly all, the others are what its proxy and its app, at a constant rate, and its pings send. */
  readonly packets: number;
  /** The reasons of `electord_etcd_trouble` that hold. */
  readonly trouble: readonly string[];
}

const requestsPattern = /^electord_etcd_requests_total\{.*\} (\d+)$/gm;
const troublePattern = /^electord_etcd_trouble\{.*reason="(\w+)".*\} 1$/gm;
/** The ninth number of an interface is how many packets it has sent. */
const sentPattern = /^ *eth0:(?: *\d+){9} *(\d+)/m;

/** A line without its end, from the text of `/metrics` and of `/proc/net/dev`. */
export function formatSample(at: number, metrics: string, interfaces: string): string {
  const counts = [...metrics.matchAll(requestsPattern)].map(([, count]) => Number(count));
  const requests = counts.length === 0 ? Number.NaN : counts.reduce((sum, one) => sum + one, 0);
  const trouble = [...metrics.matchAll(troublePattern)].map(([, reason]) => reason);
  const packets = sentPattern.exec(interfaces)?.[1] ?? 'NaN';
  return `sample ${at.toFixed(3)} ${requests} ${packets} ${trouble.join(',')}`;
}

/** Null for a line that is no sample. */
export function parseSample(from: string, line: string): Sample | null {
  const [kind, at, requests, packets, trouble = ''] = line.split(' ');
  if (kind !== 'sample') return null;
  const counts = { requests: Number(requests), packets: Number(packets) };
  return { from, at: Number(at), ...counts, trouble: trouble.split(',').filter((one) => one) };
}
