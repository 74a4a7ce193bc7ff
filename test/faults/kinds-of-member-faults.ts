// Faults among the sidecars, which with fast failover speak to each other: none of them is a reason to replace a leader that
// reaches etcd. Each shows that the leader claims its one term throughout.
import type { Random } from '../sim/random.ts';
import { monotonicMs } from '../harness/sidecar.ts';
import { dropRules } from './firewall.ts';
import type { Rules, Way } from './firewall.ts';
import { cut, stopped } from './kinds-of-sidecar-faults.ts';
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

const addressesOf = (sidecars: readonly SidecarHost[]): readonly string[] =>
  sidecars.flatMap(({ host }) => [host.address, host.secondAddress]);

/** `befall` begins and heals. */
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
    claimsOn(scene, reign, course);
  },
});

/** Cuts the leader off from these for longer than a TTL. */
const cutOff = (
  scene: Scene,
  random: Random,
  course: Course,
  from: { readonly sidecar: SidecarHost; readonly rules: Rules },
): Promise<void> => {
  const { sidecar, rules } = from;
  const how = { rules, lengthMs: longerThanTtl(scene, random), connection: null };
  return cut(scene, course, { sidecar, title: `${sidecar.name}, the leader` }, how);
};

const cutAmongMembers = (name: string, doc: string, ways: readonly Way[]): FaultKind =>
  keeping(name, doc, async (scene, random, course, { sidecar }) => {
    const rules = dropRules(addressesOf(others(scene, sidecar)), ways);
    await cutOff(scene, random, course, { sidecar, rules });
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
    course.heal();
  },
);

const followerStopped = keeping(
  'sigstop-follower',
  'SIGSTOP to a sidecar that does not lead, for less than a TTL or longer',
  async (scene, random, course, { sidecar }) => {
    const follower = random.pick(others(scene, sidecar));
    const lengthMs = random.between(0.1, 1.6) * scene.contestants.ttlMs;
    await stopped(scene, course, { sidecar: follower, title: follower.name }, lengthMs);
  },
);

const hostCutOff: FaultKind = {
  name: 'host-cut-off',
  doc: 'all packets between the host of the leader and all others are dropped',
  leaderDue: 'throughout',
  needs: 'fast failover',
  async run(scene, random, course) {
    const { sidecar } = await leaderOf(scene);
    const everybody = [...addressesOf(others(scene, sidecar)), ...scene.etcd.addresses];
    await cutOff(scene, random, course, { sidecar, rules: dropRules(everybody, ['in', 'out']) });
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
