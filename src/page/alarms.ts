// What is wrong with the election that is looked at, in sentences a tired person can act on; and what has happened since
// the frame before. Pure.
import type { HealthAnswer } from '../contract.ts';
import type { Details } from './knowledge.ts';
import type { Standing, Tone } from './ranking.ts';
import {
  ageWords,
  durationWords,
  etcdWords,
  obstacleWords,
  timeWords,
  waitingWords,
} from './words.ts';
import type { PeerOnWire, PeersFrame } from './wire.ts';

export interface Alarm {
  /** The same for as long as it is the same trouble: a screen reader is told once. */
  readonly key: string;
  readonly tone: Exclude<Tone, 'ok'>;
  readonly text: string;
  /** What does not change while it lasts. */
  readonly say: string;
}

export interface Moment {
  /** On the page's monotonic clock. */
  readonly now: number;
  /** On the sidecar's wall clock. */
  readonly wallNow: number;
  /** The checks of the sidecar that serves the page; null before the first answer. */
  readonly health: HealthAnswer | null;
}

type Kind = Pick<Alarm, 'tone' | 'key'>;

const alarm = (kind: Kind, say: string, more = ''): Alarm => ({
  ...kind,
  say,
  text: more === '' ? say : `${say} ${more}`,
});

/** How long a peer is silent by now; the frame may be a second old. */
export const silentMs = (peer: PeerOnWire, frameAt: number, now: number): number =>
  peer.silentForMs + Math.max(0, now - frameAt);

/** The peer whose key leads in etcd. */
export function peerOfLeader(details: Details, standing: Standing): PeerOnWire | null {
  const peers = details.frame?.value.peers ?? [];
  const named = peers.filter(({ id }) => id === standing.leader?.id);
  const token = standing.leader?.fencingToken;
  return named.find(({ claim }) => claim?.fencingToken === token) ?? named[0] ?? null;
}

function ofClaims({ twoClaims }: Standing): Alarm[] {
  if (twoClaims === null) return [];
  const say = `Two claims at once: ${twoClaims.join(' and ')} both say that they lead.`;
  const advice =
    'Trust only the one whose term has the higher number, and stop the other before it writes.';
  return [alarm({ key: `claims ${twoClaims.join()}`, tone: 'bad' }, say, advice)];
}

function ofLeader(standing: Standing, details: Details, { now, wallNow }: Moment): Alarm[] {
  const { leader, leaderlessSince, role, paused } = standing;
  if (leader === null && role === 'unknown') {
    const say = 'This sidecar has no fresh word from etcd, so it cannot say who leads.';
    return [alarm({ key: 'unknown', tone: 'bad' }, say)];
  }
  if (leader === null) {
    const sinceMs = wallNow - (leaderlessSince ?? wallNow);
    const more = `For ${ageWords(sinceMs)}${paused ? ', and nobody will while the pause lasts' : ''}.`;
    return [alarm({ key: 'nobody', tone: 'bad' }, 'Nobody leads.', more)];
  }
  const peer = peerOfLeader(details, standing);
  if (peer?.state !== 'silent' || details.frame === null) return [];
  const say = `${leader.id} is leader in etcd but does not answer: ${peer.detail ?? 'silent'}.`;
  const left = (peer.claim?.remainingMs ?? 0) - (now - details.frame.at);
  const more =
    left > 0
      ? `If it is dead, another can lead when its lease runs out, in about ${durationWords(left)}.`
      : 'Its claim has run out; another leads as soon as etcd drops its key.';
  return [alarm({ key: `silent leader ${leader.id}`, tone: 'bad' }, say, more)];
}

function ofMembers(standing: Standing, { frame, members }: Details, now: number): Alarm[] {
  const silent = (frame?.value.peers ?? [])
    .filter(({ state, id }) => state === 'silent' && id !== standing.leader?.id)
    .map((peer): Alarm => {
      const forMs = silentMs(peer, frame?.at ?? now, now);
      const say = `${peer.id} does not answer: ${peer.detail ?? 'silent'}.`;
      return alarm({ key: `silent ${peer.id}`, tone: 'warn' }, say, `For ${ageWords(forMs)}.`);
    });
  const unwell = (members?.value.members ?? [])
    .filter(({ healthy }) => !healthy)
    .map(({ id }) => alarm({ key: `app ${id}`, tone: 'warn' }, `The app of ${id} is unhealthy.`));
  const alone =
    standing.leader !== null && standing.candidates < 2 && !standing.paused
      ? [alarm({ key: 'alone', tone: 'warn' }, 'Nobody stands ready to take over from the leader.')]
      : [];
  return [...silent, ...unwell, ...alone];
}

function ofSidecar({ status }: Details, { now, wallNow, health }: Moment): Alarm[] {
  const alarms: Alarm[] = [];
  const { control = null, obstacle = null, stopping = false } = status?.value ?? {};
  const waiting = status?.value.waiting ?? null;
  if (status !== null && waiting !== null) {
    const text = `This sidecar is next, and waits ${waitingWords(waiting, now - status.at)}.`;
    alarms.push({ key: 'waiting', tone: 'warn', say: 'This sidecar is next, and waits.', text });
  }
  if (control !== null) {
    const until = control.until === null ? null : Date.parse(control.until);
    const ends =
      until === null
        ? ''
        : ` until ${timeWords(until, wallNow)} (${ageWords(until - wallNow)} more)`;
    const by = control.by === null ? '' : ` by ${control.by}`;
    const why = control.reason === null ? '' : `: “${control.reason}”`;
    const more = `Paused${by}${ends}${why}. Whoever leads goes on, nobody else campaigns.`;
    alarms.push({ key: 'paused', tone: 'warn', say: 'The election is paused.', text: more });
  }
  if (obstacle !== null && obstacle !== 'paused') {
    const say = `This sidecar does not campaign: ${obstacleWords(obstacle)}.`;
    alarms.push(alarm({ key: `obstacle ${obstacle}`, tone: 'warn' }, say));
  }
  if (stopping) alarms.push(alarm({ key: 'stopping', tone: 'warn' }, 'This sidecar is stopping.'));
  for (const [name, { ok, detail }] of Object.entries(health?.checks ?? {})) {
    if (ok) continue;
    const kind = { key: `check ${name}`, tone: 'warn' } as const;
    // The detail says how long ago etcd answered when this was asked for; the line below grows.
    const isEtcd = name === 'etcd' && status !== null;
    const more = isEtcd
      ? `etcd ${etcdWords(status.value.etcd, status.value.ttlMs, now - status.at)}.`
      : detail;
    alarms.push(alarm(kind, `The check “${name}” of this sidecar fails.`, more));
  }
  return alarms;
}

/** Everything that is wrong now, the worst first. */
export function alarmsOf(standing: Standing, details: Details, moment: Moment): readonly Alarm[] {
  return [
    ...ofClaims(standing),
    ...ofLeader(standing, details, moment),
    ...ofSidecar(details, moment),
    ...ofMembers(standing, details, moment.now),
  ];
}

const statement = ({ id, state, detail }: PeerOnWire, before: PeerOnWire | undefined): string => {
  if (before === undefined) return `${id} joined`;
  if (state === 'silent') return `${id} fell silent: ${detail ?? ''}`;
  if (state === 'cannot_be_asked') return `${id} cannot be asked: ${detail ?? ''}`;
  return before.state === 'silent' ? `${id} answers again` : '';
};

/** What a frame shows that the one before did not, in short sentences. */
export function happenings(before: PeersFrame | null, after: PeersFrame): readonly string[] {
  if (before?.election !== after.election) return [];
  const keyOf = ({ id, leaseId }: PeerOnWire): string => `${id} ${leaseId}`;
  const then = new Map(before.peers.map((peer) => [keyOf(peer), peer]));
  const told: string[] = [];
  for (const peer of after.peers) {
    const known = then.get(keyOf(peer));
    if (known === undefined || known.state !== peer.state) told.push(statement(peer, known));
    then.delete(keyOf(peer));
  }
  for (const { id } of then.values()) told.push(`${id} is gone from etcd`);
  if (after.twoClaims !== null && before.twoClaims === null) {
    told.push(`two claims at once: ${after.twoClaims.join(' and ')}`);
  }
  return told.filter((text) => text !== '');
}
