// Faults among the sidecars, which with fast failover speak to each other: none of them is a reason to replace a leader that
// reaches etcd. Each shows that the leader claims its one term throughout.
import type { Random } from '../sim/random.ts';
import { monotonicMs } from '../harness/sidecar.ts';
import { dropRules } from './firewall.ts';
import type { Way } from './firewall.ts';
import { isStopped } from './process-state.ts';
import { hold, leaderOf, longerThanTtl, ms } from './scene.ts';
import type { Course, FaultKind, Scene } from './scene.ts';
import type { SidecarHost } from './sidecar-hosts.ts';

/** A machine on which nobody answers for so long gives no process its due: what a sidecar does then shows nothing. */
const stallMs = 100;

interface Reign {
  readonly sidecar: SidecarHost;
  readonly token: bigint;
}

/** The longest time in which a probe beside a sidecar that runs got no answer since then. */
function longestStall(members: readonly SidecarHost[], since: number): number {
  return Math.max(
    ...members.map(({ answers }) => {
      const times = answers.map(({ receivedAt }) => receivedAt).filter((at) => at >= since);
      const steps = [...times, monotonicMs()].map((at, index) => at - (times[index - 1] ?? since));
      return Math.max(...steps);
    }),
  );
}

/** @throws Error where it did not, though the machine kept every process going. */
function claimsOn(scene: Scene, { sidecar, token }: Reign, course: Course): void {
  const since = course.startedAt;
  const own = sidecar.answers.filter(({ sentAt }) => sentAt >= since);
  const without = own.find(({ claims }) => claims !== token);
  const longest = longestStall([sidecar], since);
  if (without !== undefined && longest > stallMs) {
    course.effects.push(`the machine stood still for ${ms(longest)}, and the leader was replaced`);
    return;
  }
  const said = `claims ${String(without?.claims)} after ${ms((without?.sentAt ?? 0) - since)}, longest stall ${ms(longest)}`;
  if (without !== undefined) throw new Error(`${sidecar.name}, leader of ${token}: ${said}`);
  course.proves(`${own.length} claims of one term`, own.length > 0);
}

const others = (scene: Scene, one: SidecarHost): readonly SidecarHost[] =>
  scene.sidecars.members.filter((other) => other !== one);

const keeping = (
  name: string,
  doc: string,
  befall: (scene: Scene, random: Random, course: Course, reign: Reign) => Promise<void>,
): FaultKind => ({
  name,
  doc,
  leaderDue: 'throughout',
  needs: 'fast failover',
  async run(scene, random, course) {
    const reign = await leaderOf(scene);
    // Its witnesses are to be enlisted: at once where there were none.
    await hold(scene.contestants.ttlMs / 2);
    await befall(scene, random, course, reign);
    course.heal();
    claimsOn(scene, reign, course);
  },
});

const cutAmongMembers = (name: string, doc: string, ways: readonly Way[]): FaultKind =>
  keeping(name, doc, async (scene, random, course, { sidecar }) => {
    const lengthMs = longerThanTtl(scene, random);
    course.begin(`${sidecar.name}, the leader, for ${ms(lengthMs)}`);
    const addresses = others(scene, sidecar).flatMap(({ host }) => [
      host.address,
      host.secondAddress,
    ]);
    await sidecar.firewall.apply(dropRules(addresses, ways));
    await hold(lengthMs);
    const packets = await sidecar.firewall.stopped();
    course.proves(`${packets} packets dropped`, packets > 0);
    await sidecar.firewall.clear();
  });

const followerKilled = keeping(
  'sigkill-follower',
  'SIGKILL to a sidecar that does not lead, which comes back after a while',
  async (scene, random, course, { sidecar }) => {
    const follower = random.pick(others(scene, sidecar));
    course.begin(follower.name);
    const exit = await follower.end('SIGKILL');
    course.proves('killed by SIGKILL', exit.signal === 'SIGKILL');
    await hold(random.between(0.2, 1.5) * scene.contestants.ttlMs);
    await follower.start();
  },
);

const followerStopped = keeping(
  'sigstop-follower',
  'SIGSTOP to a sidecar that does not lead, for less than a TTL or longer',
  async (scene, random, course, { sidecar }) => {
    const follower = random.pick(others(scene, sidecar));
    const lengthMs = random.between(0.1, 1.6) * scene.contestants.ttlMs;
    course.begin(`${follower.name}, for ${ms(lengthMs)}`);
    await follower.freeze();
    await hold(lengthMs);
    course.proves('all its threads were stopped', isStopped(follower.pid));
    follower.thaw();
  },
);

const hostCutOff: FaultKind = {
  name: 'host-cut-off',
  doc: 'all packets between the host of the leader and all others are dropped',
  leaderDue: 'throughout',
  needs: 'fast failover',
  async run(scene, random, course) {
    const { sidecar } = await leaderOf(scene);
    const lengthMs = longerThanTtl(scene, random);
    course.begin(`${sidecar.name}, the leader, for ${ms(lengthMs)}`);
    const members = others(scene, sidecar).flatMap(({ host }) => [
      host.address,
      host.secondAddress,
    ]);
    await sidecar.firewall.apply(dropRules([...members, ...scene.etcd.addresses], ['in', 'out']));
    await hold(lengthMs);
    const packets = await sidecar.firewall.stopped();
    course.proves(`${packets} packets dropped`, packets > 0);
    await sidecar.firewall.clear();
    course.heal();
  },
};

/** All of them. */
export const memberFaults: readonly FaultKind[] = [
  cutAmongMembers('members-cut-off', 'all packets between the leader and the others are dropped', [
    'in',
    'out',
  ]),
  cutAmongMembers('members-one-way', 'what the others send to the leader is dropped', ['in']),
  followerKilled,
  followerStopped,
  hostCutOff,
];
