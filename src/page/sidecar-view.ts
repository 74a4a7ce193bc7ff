// What this page's own sidecar says of itself: etcd as it sees it, its lease, its checks, its app.
import { make, part } from './dom.ts';
import type { Details, Knowledge } from './knowledge.ts';
import { ageWords, durationWords, failoverWords, obstacleWords, timeWords } from './words.ts';

type Fact = readonly [name: string, text: string, tone: 'ok' | 'warn' | 'bad' | null];

const checkNames: Readonly<Record<string, string>> = {
  etcd: 'Check: etcd',
  app: 'Check: app',
  eventLoop: 'Check: event loop',
};

function factsOf({ status }: Details, { health }: Knowledge, wallNow: number): readonly Fact[] {
  if (status === null) return [];
  const { value, at } = status;
  const laterMs = performance.now() - at;
  const contactMs = value.etcd.contactAgeMs;
  const contact =
    contactMs === null ? 'has not answered yet' : `answered ${ageWords(contactMs + laterMs)} ago`;
  const late = contactMs === null || contactMs > value.ttlMs;
  const leftMs = value.lease === null ? 0 : Math.max(0, value.lease.remainingMs - laterMs);
  const lease =
    value.lease === null
      ? 'none'
      : `${value.lease.id}, ${durationWords(leftMs)} of ${durationWords(value.lease.ttlMs)} left`;
  const checks = Object.entries(health?.checks ?? {}).map(([name, { ok, detail }]): Fact => {
    const title = checkNames[name] ?? name;
    if (name === 'app' && !value.app.checked) return [title, detail, null];
    const result = `${ok ? 'passes' : 'fails'}${detail === '' ? '' : `: ${detail}`}`;
    return [title, result, ok ? 'ok' : 'bad'];
  });
  const { obstacle } = value;
  const campaigns: Fact =
    obstacle === null
      ? ['Campaigns', 'yes', 'ok']
      : ['Campaigns', `no: ${obstacleWords(obstacle)}`, 'warn'];
  const failover = failoverWords(value);
  const replaces: readonly Fact[] =
    failover === null ? [] : [['Failover', failover.text, failover.tone]];
  const started = `${timeWords(Date.parse(value.startedAt), wallNow)} (${ageWords(value.uptimeMs + laterMs)})`;
  return [
    ['etcd', contact, late ? 'bad' : 'ok'],
    ['Its lease', lease, value.lease === null ? 'bad' : null],
    ['Role here', value.role, value.role === 'unknown' ? 'bad' : null],
    ...replaces,
    campaigns,
    ...checks,
    ['Started', started, null],
    ['Version', value.version, null],
  ];
}

export function drawSidecar(details: Details, knowledge: Knowledge): void {
  const rows = factsOf(details, knowledge, knowledge.wallNow()).map(([name, text, tone]) =>
    make('div', {}, make('dt', {}, name), make('dd', { 'data-tone': tone }, text)),
  );
  part('facts').replaceChildren(...rows);
}
