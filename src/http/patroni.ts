// What readers of Patroni's REST API look for in `/cluster` and `/patroni`, made of the same report as every other answer.
// Nothing is made up: what only a database has (timeline, positions in its log) is left out, which Patroni allows, and the
// lag of a replica is `unknown`, which is Patroni's own word. Its paths for health checks are in probes.ts.
import type { Report } from '../core/report.ts';
import { readAdvertised } from '../process/advertised.ts';
import { leaderAnswer } from './answers.ts';
import type { Inputs } from './inputs.ts';
import { membersAnswer } from './members.ts';

/** `running` is what readers ask for; of a member whose app is not well all that is known is that it does not. */
export type PatroniState = 'running' | 'stopped';

export interface PatroniMember {
  readonly name: string;
  readonly role: 'leader' | 'replica';
  readonly state: PatroniState;
  /** Null for a candidate of another program. */
  readonly api_url: string | null;
  /** Of `--advertise`; not there without it, or without a port in it. */
  readonly host?: string;
  readonly port?: number;
  /** Of replicas only. */
  readonly lag?: 'unknown';
}

/** The body of `/cluster`; `pause` is there only while the election is paused. */
export interface ClusterAnswer {
  readonly members: readonly PatroniMember[];
  readonly scope: string;
  readonly pause?: true;
}

/** The body of `/patroni`, about this instance. */
export interface PatroniAnswer {
  readonly state: PatroniState;
  readonly role: 'primary' | 'replica';
  /** There only where no leader is known. */
  readonly cluster_unlocked?: true;
  readonly pause?: true;
  /** When etcd answered last, in seconds since 1970; not there before it has. */
  readonly dcs_last_seen?: number;
  readonly patroni: { readonly version: string; readonly scope: string; readonly name: string };
}

/** The parts of an advertised address, as far as they are there. */
function hostAndPort(address: string | null): Pick<PatroniMember, 'host' | 'port'> {
  const { host, port } = readAdvertised(address) ?? { port: null };
  return { ...(host !== undefined && { host }), ...(port !== null && { port }) };
}

const stateOf = (healthy: boolean): PatroniState => (healthy ? 'running' : 'stopped');
const pauseOf = ({ control }: Report): { readonly pause?: true } =>
  control === null ? {} : { pause: true };

export function clusterAnswer(report: Report, { elections }: Pick<Inputs, 'elections'>) {
  const { members, election: scope } = membersAnswer(report, elections);
  const answer: ClusterAnswer = {
    members: members
      .map(({ id, role, healthy, url, address }): PatroniMember => ({
        name: id,
        role: role === 'leader' ? 'leader' : 'replica',
        state: stateOf(healthy),
        api_url: url === null ? null : `${url}/patroni`,
        ...hostAndPort(address),
        ...(role === 'leader' ? {} : { lag: 'unknown' }),
      }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    scope,
    ...pauseOf(report),
  };
  return answer;
}

export function patroniAnswer(report: Report, inputs: Inputs): PatroniAnswer {
  const { election: scope, id: name, isLeader, leader } = leaderAnswer(report, inputs);
  const contact = inputs.elections.contact();
  const seenAt = contact === null ? null : Math.floor((inputs.wallNow() - contact.ageMs) / 1000);
  return {
    state: stateOf(inputs.health.app().healthy),
    role: isLeader ? 'primary' : 'replica',
    ...(leader === null ? { cluster_unlocked: true } : {}),
    ...pauseOf(report),
    ...(seenAt === null ? {} : { dcs_last_seen: seenAt }),
    patroni: { version: inputs.version, scope, name },
  };
}
