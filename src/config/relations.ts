// Which settings contradict each other. A relation is only judged where all its values were readable, so
// that one bad value is one fault and not three.

import { formatDuration } from '../contract.ts';
import { collide, hostInUrl, isLocalOnly } from './addresses.ts';
import { faultOf, type Effective, type Fault } from './faults.ts';
import { whatHinders } from './publish.ts';
import { settingOf, type SettingKey, type Values } from './settings.ts';

/** A quarter of it is what a process needs to be asked, killed and gone. */
const leastWhereSomethingStopsMs = 200;

/** What is wrong with a short lease beside something that has to stop when a term ends; null where it is enough. */
export const tooShortToStop = (shortMs: number | null): string | null =>
  shortMs !== null && shortMs < leastWhereSomethingStopsMs
    ? `is less than ${formatDuration(leastWhereSomethingStopsMs)}: a quarter of it must be enough to stop what acts for a term`
    : null;

/** The readable values; null is readable and means not set, undefined means unreadable. */
export type Readable = Partial<Values>;

interface Contradiction {
  readonly key: SettingKey;
  readonly problem: string;
}

/** Every contradiction among the readable values. */
export function contradictions(
  values: Readable,
  effective: Readonly<Record<SettingKey, Effective>>,
): readonly Fault[] {
  return [
    ...timings(values),
    ...fastFailover(values),
    ...listeners(values),
    ...proxies(values),
    ...etcdAccess(values),
    ...publishing(values),
    ...ownTls(values),
    ...kubernetes(values),
  ].map(({ key, problem }) => faultOf(key, effective[key], problem));
}

function timings(values: Readable): Contradiction[] {
  const found: Contradiction[] = [];
  const { ttl, margin, grace, maxHold } = values;
  if (ttl !== undefined && margin !== undefined) {
    const ofTtl = `of --ttl ${formatDuration(ttl)}`;
    // Renewals need the first half of the lease; what is left after the margin is all the leader has.
    if (margin * 2 >= ttl) found.push({ key: 'margin', problem: `is not less than half ${ofTtl}` });
    // NTP may make a clock run 500 ppm fast or slow, so two clocks can differ by a thousandth.
    if (margin * 1000 < ttl) found.push({ key: 'margin', problem: `is less than 1/1000 ${ofTtl}` });
    // A hold is never promised beyond the lease, so a longer one could never be given.
    if (margin * 2 < ttl && maxHold !== undefined && maxHold >= ttl - margin) {
      const room = `--ttl ${formatDuration(ttl)} minus --margin ${formatDuration(margin)}`;
      found.push({ key: 'maxHold', problem: `is not less than ${room}` });
    }
  }
  const within = (key: 'hookTimeout' | 'maxHold' | 'appCheckTimeout', limit: SettingKey): void => {
    const [value, limitMs] = [values[key], values[limit]];
    if (value === undefined || typeof limitMs !== 'number' || value <= limitMs) return;
    const name = limit === 'grace' ? '--grace' : '--app-check-interval';
    found.push({ key, problem: `is longer than ${name} ${formatDuration(limitMs)}` });
  };
  within('appCheckTimeout', 'appCheckInterval');
  within('hookTimeout', 'grace');
  // Holds are waited out within the grace of a step-down.
  if (grace !== undefined && !found.some(({ key }) => key === 'maxHold'))
    within('maxHold', 'grace');
  return found;
}

/** What must fit into the short lease, where there is one. */
function fastFailover(values: Readable): Contradiction[] {
  const { fastFailover: shortMs, ttl, margin, maxHold, onStepDown } = values;
  if (typeof shortMs !== 'number') return [];
  const short = `--fast-failover ${formatDuration(shortMs)}`;
  const found: Contradiction[] = [];
  const contradicts = (problem: string): void => void found.push({ key: 'fastFailover', problem });
  if (ttl !== undefined && shortMs * 2 > ttl) {
    contradicts(`is more than half of --ttl ${formatDuration(ttl)}: then a crash costs no less`);
  } else if (ttl !== undefined && margin !== undefined && margin * 5 > ttl) {
    contradicts(
      `leaves no time beside --margin ${formatDuration(margin)}, which is more than a fifth of --ttl`,
    );
  }
  const tooShort = onStepDown ? tooShortToStop(shortMs) : null;
  if (tooShort !== null) contradicts(tooShort);
  if (maxHold !== undefined && maxHold > shortMs) {
    found.push({
      key: 'maxHold',
      problem: `is longer than ${short}, and nothing is promised beyond that`,
    });
  }
  return found;
}

function listeners(values: Readable): Contradiction[] {
  const { listen, localListen, agentCheck, grpcHealth, publicUrl, tokenFile, token } = values;
  const found: Contradiction[] = [];
  const open = tokenFile === null && token === null;
  if (typeof publicUrl === 'string' && open) {
    const problem = 'is given without --token-file: whoever reaches the proxy could use the verbs';
    found.push({ key: 'publicUrl', problem });
  }
  for (const [name, other] of Object.entries({ listen, 'local-listen': localListen })) {
    for (const [key, one] of Object.entries({ agentCheck, grpcHealth })) {
      if (!one || other === undefined || !collide(one, other)) continue;
      found.push({ key: key as SettingKey, problem: `is the same socket as --${name}` });
    }
  }
  if (localListen === undefined) return found;
  if (listen !== undefined && collide(listen, localListen)) {
    found.push({ key: 'localListen', problem: 'is the same socket as --listen' });
  }
  if (!isLocalOnly(localListen) && open) {
    const why = 'is missing, although --local-listen is neither loopback nor a unix socket';
    found.push({ key: 'tokenFile', problem: why });
  }
  return found;
}

function proxies(values: Readable): Contradiction[] {
  const { proxy, election: elections, advertise } = values;
  const problems: string[] = [];
  const taken = [values.listen, values.localListen].flatMap((address) => address ?? []);
  for (const { listen, election } of proxy ?? []) {
    const shown = `${hostInUrl(listen.host)}:${listen.port}`;
    if (taken.some((other) => collide(listen, other))) problems.push(`listens on ${shown} twice`);
    taken.push(listen);
    if (advertise === shown) problems.push(`listens on ${shown}, which is --advertise: on itself`);
    if (elections === undefined) continue;
    if (election === null && elections.length > 1)
      problems.push(`lacks @ELECTION after ${shown}=…`);
    if (election !== null && !elections.includes(election)) {
      problems.push(`names ${election}, which is not in --election`);
    }
  }
  return problems.map((problem) => ({ key: 'proxy', problem }));
}

function etcdAccess(values: Readable): Contradiction[] {
  const found = [...pair(values, 'etcdCert', 'etcdKey')];
  const { etcd, etcdUsername, etcdPasswordFile, etcdPassword } = values;
  if (etcd?.some((endpoint) => /^(http|srv):/.test(endpoint))) {
    for (const key of ['etcdCa', 'etcdCert', 'etcdKey'] as const) {
      if (typeof values[key] !== 'string') continue;
      found.push({ key, problem: 'makes no sense with http:// endpoints in --etcd' });
    }
  }
  if (typeof etcdUsername === 'string' && etcdPasswordFile === null && etcdPassword === null) {
    found.push({ key: 'etcdUsername', problem: 'is given without --etcd-password-file' });
  }
  if (etcdUsername === null) {
    for (const key of ['etcdPasswordFile', 'etcdPassword'] as const) {
      if (values[key]) found.push({ key, problem: 'is given without --etcd-username' });
    }
  }
  return found;
}

function publishing(values: Readable): Contradiction[] {
  const { publish, election: elections, prefix, advertise } = values;
  if (!publish || !elections || prefix === undefined || advertise === undefined) return [];
  const problem = whatHinders(publish, { elections, prefix, advertise });
  return problem === null ? [] : [{ key: 'publish', problem }];
}

function ownTls(values: Readable): Contradiction[] {
  const found = [...pair(values, 'tlsCert', 'tlsKey'), ...pair(values, 'cert', 'key')];
  const { tlsClientAuth } = values;
  if (values.tlsClientCa === null && (tlsClientAuth === 'request' || tlsClientAuth === 'require')) {
    found.push({ key: 'tlsClientAuth', problem: 'is given without --tls-client-ca' });
  }
  if (typeof values.tlsClientCa === 'string' && values.tlsCert === null) {
    found.push({ key: 'tlsClientCa', problem: 'is given without --tls-cert' });
  }
  return found;
}

function* kubernetes({ kubernetesLeaderLabel, election = [] }: Readable): Generator<Contradiction> {
  if (!kubernetesLeaderLabel || election.length < 2) return;
  const problem =
    'makes no sense with several elections: a Service could not tell which one is led';
  yield { key: 'kubernetesLeaderLabel', problem };
}

function* pair(
  values: Readable,
  cert: 'etcdCert' | 'tlsCert' | 'cert',
  key: 'etcdKey' | 'tlsKey' | 'key',
): Generator<Contradiction> {
  const [certName, keyName] = [settingOf(cert).name, settingOf(key).name];
  const [certPath, keyPath] = [values[cert], values[key]];
  if (typeof certPath === 'string' && keyPath === null) {
    yield { key: cert, problem: `is given without --${keyName}` };
  }
  if (typeof keyPath === 'string' && certPath === null) {
    yield { key, problem: `is given without --${certName}` };
  }
}
