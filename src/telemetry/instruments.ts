// The names, labels and help of every metric, in the order of the reference. No behaviour: what feeds them is in
// metrics.ts.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** From a loopback etcd to one that is about to cost us the lease. */
const renewalBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** Of the TTL: from nothing left to the four fifths that are left in a healthy round. */
const remainingBuckets = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
const hookBuckets = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** From a hand-over to a machine that dies under a long TTL. */
const failoverBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 7.5, 10, 15, 30, 60];

const perElection = ['election', 'id'] as const;
const perInstance = ['id'] as const;

function electionInstruments(registers: Registry[]) {
  return {
    isLeader: new Gauge({
      name: 'electord_is_leader',
      help: 'Whether this instance leads now (1 or 0).',
      labelNames: perElection,
      registers,
    }),
    role: new Gauge({
      name: 'electord_role',
      help: 'The role of this instance: 1 for the one it has, 0 for the others.',
      labelNames: [...perElection, 'role'] as const,
      registers,
    }),
    fencingToken: new Gauge({
      name: 'electord_fencing_token',
      help: 'The fencing token of the term of this instance, 0 when not leading. Exact up to 2^53.',
      labelNames: perElection,
      registers,
    }),
    transitions: new Counter({
      name: 'electord_transitions_total',
      help: 'Terms of this instance that began (cause elected) or ended (any other cause).',
      labelNames: [...perElection, 'cause'] as const,
      registers,
    }),
    takenAway: new Counter({
      name: 'electord_terms_taken_away_total',
      help: 'Terms before one of this instance whose lease or key was taken away before its time.',
      labelNames: perElection,
      registers,
    }),
    witnesses: new Gauge({
      name: 'electord_witnesses',
      help: 'Who replaces this instance at once when it is not heard of; only with fast failover, while leading.',
      labelNames: perElection,
      registers,
    }),
    dismissed: new Counter({
      name: 'electord_witnesses_dismissed_total',
      help: 'Witnesses of this instance that were one no more while it led on.',
      labelNames: perElection,
      registers,
    }),
    deposed: new Counter({
      name: 'electord_terms_deposed_total',
      help: 'Terms of other instances that this one ended, as they were not heard of.',
      labelNames: perElection,
      registers,
    }),
    leaderless: new Counter({
      name: 'electord_leaderless_seconds_total',
      help: 'Time in which this instance knew of no leader; a new leader adds for how long the one before may have been dead unnoticed.',
      labelNames: perElection,
      registers,
    }),
    failoverDuration: new Histogram({
      name: 'electord_failover_duration_seconds',
      help: 'How long nobody led before a term of this instance, at most: from the end of the one before, by the cause of that, or from its last sign of life.',
      labelNames: [...perElection, 'cause'] as const,
      buckets: failoverBuckets,
      registers,
    }),
    leaderlessFor: new Gauge({
      name: 'electord_leaderless_duration_seconds',
      help: 'For how long this instance has known of no leader by now, 0 while it knows of one.',
      labelNames: perElection,
      registers,
    }),
    members: new Gauge({
      name: 'electord_members',
      help: 'Members present, candidates of other programs included.',
      labelNames: perElection,
      registers,
    }),
    paused: new Gauge({
      name: 'electord_paused',
      help: 'Whether the election is paused (1 or 0).',
      labelNames: perElection,
      registers,
    }),
    masterStatus: new Gauge({
      name: 'leader_election_master_status',
      help: 'Whether this instance leads the election of that name (1 or 0), as client-go tells it.',
      labelNames: ['name'] as const,
      registers,
    }),
  };
}

function instanceInstruments(registers: Registry[]) {
  return {
    leaseRemaining: new Gauge({
      name: 'electord_lease_remaining_seconds',
      help: 'How long the lease may still be relied upon, 0 without one.',
      labelNames: perInstance,
      registers,
    }),
    leaseTtl: new Gauge({
      name: 'electord_lease_ttl_seconds',
      help: 'The time to live of the lease: as granted, else as asked for.',
      labelNames: perInstance,
      registers,
    }),
    renewals: new Counter({
      name: 'electord_renewals_total',
      help: 'Renewals of the lease that ended: ok, failed, or lost (the lease was gone).',
      labelNames: [...perInstance, 'result'] as const,
      registers,
    }),
    renewalDuration: new Histogram({
      name: 'electord_renewal_duration_seconds',
      help: 'How long renewals of the lease took, whatever their result.',
      labelNames: perInstance,
      buckets: renewalBuckets,
      registers,
    }),
    renewalRemaining: new Histogram({
      name: 'electord_renewal_remaining_ratio',
      help: 'How much of the lease was left when a renewal succeeded, as a part of the TTL.',
      labelNames: perInstance,
      buckets: remainingBuckets,
      registers,
    }),
    pings: new Counter({
      name: 'electord_pings_total',
      help: 'Pings to witnesses, and to candidates for one, that ended: acknowledged, refused or failed.',
      labelNames: [...perInstance, 'result'] as const,
      registers,
    }),
    pingDuration: new Histogram({
      name: 'electord_ping_duration_seconds',
      help: 'How long pings took that were acknowledged.',
      labelNames: perInstance,
      buckets: renewalBuckets,
      registers,
    }),
    etcdRequests: new Counter({
      name: 'electord_etcd_requests_total',
      help: 'Requests to etcd that ended, by operation and result.',
      labelNames: [...perInstance, 'op', 'result'] as const,
      registers,
    }),
    etcdUp: new Gauge({
      name: 'electord_etcd_up',
      help: 'Whether etcd answered a request sent within the last TTL (1 or 0).',
      labelNames: perInstance,
      registers,
    }),
    etcdTrouble: new Gauge({
      name: 'electord_etcd_trouble',
      help: 'Whether etcd has gone back to an earlier state (went_back), or an endpoint belongs to another cluster (other_cluster).',
      labelNames: [...perInstance, 'reason'] as const,
      registers,
    }),
    appUp: new Gauge({
      name: 'electord_app_up',
      help: 'Whether the check of the app passes (1 or 0); 1 where no check is configured.',
      labelNames: perInstance,
      registers,
    }),
    hookDuration: new Histogram({
      name: 'electord_hook_duration_seconds',
      help: 'How long hooks ran, by hook and result.',
      labelNames: [...perInstance, 'hook', 'result'] as const,
      buckets: hookBuckets,
      registers,
    }),
    eventClients: new Gauge({
      name: 'electord_event_clients',
      help: 'Clients that receive events now.',
      labelNames: perInstance,
      registers,
    }),
    certificateExpiry: new Gauge({
      name: 'electord_certificate_expiry_timestamp_seconds',
      help: 'When the certificate in use expires, the first of a file, in seconds since 1970; `file` is the setting.',
      labelNames: [...perInstance, 'file'] as const,
      registers,
    }),
    buildInfo: new Gauge({
      name: 'electord_build_info',
      help: 'Always 1; the version of electord is in the label.',
      labelNames: ['version'] as const,
      registers,
    }),
  };
}

/** All metrics of electord, registered in `registry`. */
export function createInstruments(registry: Registry) {
  const registers = [registry];
  return { ...electionInstruments(registers), ...instanceInstruments(registers) };
}

export type Instruments = ReturnType<typeof createInstruments>;
