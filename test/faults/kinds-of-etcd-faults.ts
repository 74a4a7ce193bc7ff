// Faults of etcd: members killed, stopped, cut off from each other, replaced, a lost quorum; and what people do to it: keys
// deleted, leases revoked, history compacted, hundreds of candidates.
import type { Random } from '../sim/random.ts';
import { monotonicMs } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import type { EtcdHost } from './etcd-host.ts';
import { dropRules } from './firewall.ts';
import { startOn, tryConnect } from './hosts.ts';
import { etcdPeerPort } from './ports.ts';
import { isStopped } from './process-state.ts';
import { hold, leaderOf, longerThanTtl, ms, someSidecar } from './scene.ts';
import type { FaultKind, Scene } from './scene.ts';
import { candidatesPrefix } from './sidecar-hosts.ts';

const silentAfterMs = 700;

type Rank = 'leader' | 'follower';

async function memberOfRank(scene: Scene, rank: Rank, random: Random): Promise<EtcdHost> {
  const leader = await scene.etcd.leader();
  if (rank === 'leader') return leader;
  return random.pick(scene.etcd.members.filter((member) => member !== leader));
}

const memberKilled = (rank: Rank): FaultKind => ({
  name: rank === 'leader' ? 'etcd-leader-killed' : 'etcd-killed',
  doc: `SIGKILL to a member of etcd, a ${rank}, which comes back later`,
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const member = await memberOfRank(scene, rank, random);
    const downMs = longerThanTtl(scene, random);
    course.begin(`${member.name}, for ${ms(downMs)}`);
    await member.kill();
    course.proves('killed', !member.isRunning());
    await hold(downMs);
    await member.start();
    await scene.etcd.untilServing(member);
    course.heal();
  },
});

/** What it takes, and a bit, until the others have elected another leader of etcd and leases are renewed there. */
const deposedAfterMs = 6000;

const memberFrozen = (rank: Rank): FaultKind => ({
  name: rank === 'leader' ? 'etcd-leader-frozen' : 'etcd-frozen',
  doc: `SIGSTOP to a member of etcd, a ${rank}`,
  leaderDue: 'throughout',
  // Back again it revokes leases that are long renewed, in about every second case (etcd issue 15247).
  weight: rank === 'leader' ? 4 : 1,
  async run(scene, random, course) {
    const member = await memberOfRank(scene, rank, random);
    const lengthMs = Math.max(deposedAfterMs, longerThanTtl(scene, random) * 1.3);
    course.begin(`${member.name}, for ${ms(lengthMs)}`);
    await member.freeze();
    await hold(lengthMs);
    course.proves('all its threads were stopped', isStopped(member.pid));
    if (rank === 'leader') course.exLeaderBackAt = monotonicMs();
    member.thaw();
    await scene.etcd.untilServing(member);
    course.heal();
  },
});

const memberCutOff = (rank: Rank): FaultKind => ({
  name: rank === 'leader' ? 'etcd-leader-cut-off' : 'etcd-cut-off',
  doc: `a member of etcd, a ${rank}, does not reach the others; sidecars still reach it`,
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const member = await memberOfRank(scene, rank, random);
    const others = scene.etcd.addresses.filter((address) => address !== member.address);
    const lengthMs = longerThanTtl(scene, random) * 1.5;
    course.begin(`${member.name}, for ${ms(lengthMs)}`);
    await member.firewall.apply(dropRules(others, ['in', 'out']));
    const attempt = tryConnect(member.host, others[0]!, etcdPeerPort, silentAfterMs);
    const reached = scene.etcd
      .etcdctl(['get', 'nothing', '--consistency=s'], { at: [member] })
      .then(
        () => true,
        () => false,
      );
    await hold(lengthMs);
    course.proves('a new connection to another member is silent', (await attempt) === 'silent');
    course.proves('clients still reach it', await reached);
    const packets = await member.firewall.stopped();
    course.proves(`${packets} packets dropped`, packets > 0);
    await member.firewall.clear();
    await scene.etcd.untilServing(member);
    course.heal();
  },
});

/** Whether etcd refuses a linearizable read. */
async function isWithoutQuorum(scene: Scene, member: EtcdHost): Promise<boolean> {
  const read = scene.etcd.etcdctl(['get', 'nothing', '--command-timeout=1s'], { at: [member] });
  return read.then(
    () => false,
    () => true,
  );
}

const quorumLost = (how: 'killed' | 'frozen'): FaultKind => ({
  name: how === 'killed' ? 'quorum-lost' : 'quorum-frozen',
  doc: `two members of etcd are ${how}`,
  leaderDue: 'after',
  async run(scene, random, course) {
    const [left, ...gone] = random.shuffle(scene.etcd.members);
    const leader = await scene.etcd.leader();
    const lengthMs = longerThanTtl(scene, random);
    course.begin(`${gone.map(({ name }) => name).join(' and ')}, for ${ms(lengthMs)}`);
    await Promise.all(gone.map((member) => (how === 'killed' ? member.kill() : member.freeze())));
    const goneAt = monotonicMs();
    const [refused] = await Promise.all([isWithoutQuorum(scene, left!), hold(lengthMs)]);
    course.proves('etcd answers no linearizable read', refused);
    course.etcdWasGone(goneAt);
    if (how === 'frozen' && gone.includes(leader)) course.exLeaderBackAt = monotonicMs();
    for (const member of gone) {
      if (how === 'killed') await member.start();
      else member.thaw();
    }
    for (const member of scene.etcd.members) await scene.etcd.untilServing(member);
    course.heal();
  },
});

const memberReplaced: FaultKind = {
  name: 'etcd-replaced',
  doc: 'a member of etcd is removed, and another takes its place, empty and at another address',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const member = await memberOfRank(scene, random.pick(['leader', 'follower']), random);
    course.begin(member.name);
    const successor = await scene.etcd.replace(member);
    const list = await scene.etcd.etcdctl(['member', 'list']);
    const isChanged = list.includes(successor.clientUrl) && !list.includes(member.clientUrl);
    course.proves(`${successor.name} is a member instead`, isChanged && !member.isRunning());
    course.heal();
  },
};

const allRestarted: FaultKind = {
  name: 'etcd-restarted',
  doc: 'all members of etcd are killed at once and started again',
  leaderDue: 'after',
  async run(scene, random, course) {
    const { members } = scene.etcd;
    const downMs = random.chance(0.5) ? 0 : longerThanTtl(scene, random);
    const before = members.map(({ pid }) => pid);
    course.begin(`back after ${ms(downMs)}`);
    await scene.etcd.kill();
    const goneAt = monotonicMs();
    await hold(downMs);
    course.etcdWasGone(goneAt);
    await scene.etcd.start();
    course.proves('three new processes', !members.some(({ pid }) => before.includes(pid)));
    course.heal();
  },
};

interface StoredKey {
  readonly key: string;
  readonly create_revision: number;
}

/** The key of the leader's candidacy, and its term. */
async function leadersKey(
  scene: Scene,
): Promise<{ readonly key: string; readonly token: bigint; readonly leaseHex: string }> {
  const { make } = scene.contestants;
  const prefix = candidatesPrefix(make);
  const first = ['--prefix', '--sort-by=CREATE', '--order=ASCEND', '--limit=1', '-w', 'json'];
  const text = await scene.etcd.etcdctl(['get', prefix, ...first]);
  const stored = (JSON.parse(text) as { kvs?: readonly StoredKey[] }).kvs?.[0];
  if (stored === undefined) throw new Error(`no candidate under ${prefix}`);
  const key = Buffer.from(stored.key, 'base64').toString();
  const lease = key.slice(prefix.length);
  const leaseHex = make === 'electord' ? lease : BigInt(lease).toString(16);
  return { key, token: BigInt(stored.create_revision), leaseHex };
}

const administrator = (
  name: string,
  doc: string,
  command: (found: { readonly key: string; readonly leaseHex: string }) => readonly string[],
  success: RegExp,
): FaultKind => ({
  name,
  doc,
  leaderDue: 'throughout',
  async run(scene, _random, course) {
    const { sidecar } = await leaderOf(scene);
    const found = await leadersKey(scene);
    course.administered.push(found.token);
    course.begin(`${sidecar.name}, the leader of term ${found.token}`);
    const text = await scene.etcd.etcdctl(command(found));
    course.proves(`etcdctl: ${text.trim()}`, success.test(text));
    course.heal();
  },
});

const keyDeleted = administrator(
  'key-deleted',
  "an administrator deletes the leader's key",
  ({ key }) => ['del', key],
  /^1$/m,
);

const leaseRevoked = administrator(
  'lease-revoked',
  "an administrator revokes the leader's lease",
  ({ leaseHex }) => ['lease', 'revoke', leaseHex],
  /revoked/,
);

const compacted: FaultKind = {
  name: 'compaction',
  doc: 'while a sidecar is cut off, leadership changes and etcd forgets how',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const { sidecar, title } = await someSidecar(scene, random, 0.3);
    const { addresses } = scene.etcd;
    course.begin(`${title}, is cut off meanwhile`);
    await sidecar.firewall.apply(dropRules(addresses, ['in', 'out']));
    const present = scene.sidecars.leader();
    if (present !== null && present.sidecar !== sidecar) {
      course.plannedEnds.push(present.token);
      await present.sidecar.end('SIGTERM');
      await present.sidecar.start();
    }
    await hold(longerThanTtl(scene, random));
    const revision = await scene.etcd.revision();
    await scene.etcd.etcdctl(['compaction', String(revision)]);
    const past = scene.etcd.etcdctl(['get', 'nothing', `--rev=${revision - 1}`]);
    const forgotten = await past.then(
      () => false,
      (error: unknown) => String(error).includes('compacted'),
    );
    course.proves(`everything before revision ${revision} is forgotten`, forgotten);
    const packets = await sidecar.firewall.stopped();
    course.proves(`${packets} packets dropped`, packets > 0);
    await sidecar.firewall.clear();
    course.heal();
  },
};

const crowd: FaultKind = {
  name: 'crowd',
  doc: 'hundreds of candidates join at once and leave at once',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const { etcd, contestants } = scene;
    const count = 200 + random.below(200);
    await leaderOf(scene);
    const prefix = candidatesPrefix(contestants.make);
    const lines: string[] = [];
    course.begin(`${count} candidates`);
    const child = await startOn(
      etcd.operator,
      process.execPath,
      [contestants.programs.crowd, String(count), prefix, ...etcd.endpoints],
      { env: process.env, onLine: (line) => lines.push(line) },
    );
    try {
      await eventually(() => lines.includes(`joined ${count}`), {
        withinMs: 30_000,
        what: `${count} candidates join`,
      });
      const keys = await etcd.etcdctl(['get', '--prefix', '--keys-only', prefix]);
      const found = keys.split('\n').filter((line) => line !== '').length;
      course.proves(`${found} keys in the queue`, found >= count);
      await hold(random.between(0.5, 1.2) * contestants.ttlMs);
      child.signal('SIGTERM');
      const exit = await child.exited;
      course.proves(`left ${count}`, exit.code === 0 && lines.includes(`left ${count}`));
      course.heal();
    } finally {
      child.signal('SIGKILL');
    }
  },
};

/** All of them. */
export const etcdFaults: readonly FaultKind[] = [
  memberKilled('follower'),
  memberKilled('leader'),
  memberFrozen('follower'),
  memberFrozen('leader'),
  memberCutOff('follower'),
  memberCutOff('leader'),
  quorumLost('killed'),
  quorumLost('frozen'),
  memberReplaced,
  allRestarted,
  keyDeleted,
  leaseRevoked,
  compacted,
  crowd,
];
