// Faults of the sidecars themselves: killed, ended, stopped, with a wrong wall clock; and of their links to etcd: cut
// silently, with a reset, one way, slow, lossy.
import type { Random } from '../sim/random.ts';
import { eventually } from '../harness/wait.ts';
import { dropRules, lossRules, redirectRules, rejectRules } from './firewall.ts';
import type { Rules, Way } from './firewall.ts';
import { startOn, tryConnect } from './hosts.ts';
import { etcdClientPort, slowLinkPort } from './ports.ts';
import { isStopped } from './process-state.ts';
import { hold, leaderOf, longerThanTtl, makeLeader, ms, someSidecar } from './scene.ts';
import type { Course, FaultKind, Scene } from './scene.ts';
import type { SidecarHost } from './sidecar-hosts.ts';

/** A connection over a bridge takes less than a millisecond: longer than this is silence. */
const silentAfterMs = 700;
/** A refusal ends the wait for it, which may be late on a busy machine. */
const refusedWithinMs = 10_000;

const killed = (name: string, leaderChance: number, doc: string): FaultKind => ({
  name,
  doc,
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const { sidecar, title } = await someSidecar(scene, random, leaderChance);
    const downMs = random.chance(0.5) ? 0 : random.between(0, 1.6) * scene.contestants.ttlMs;
    course.begin(`${title}, back after ${ms(downMs)}`);
    const exit = await sidecar.end('SIGKILL');
    course.proves('killed by SIGKILL', exit.signal === 'SIGKILL');
    await hold(downMs);
    await sidecar.start();
    course.heal();
  },
});

const terminated: FaultKind = {
  name: 'sigterm-leader',
  doc: 'SIGTERM to the leader, which comes back at once',
  leaderDue: 'throughout',
  async run(scene, _random, course) {
    const { sidecar, token } = await leaderOf(scene);
    course.plannedEnds.push(token);
    course.begin(sidecar.name);
    const exit = await sidecar.end('SIGTERM');
    course.proves('ended with code 0', exit.code === 0);
    await sidecar.start();
    course.heal();
  },
};

const terminatedCutOff: FaultKind = {
  name: 'sigterm-cut-off',
  doc: 'SIGTERM to a sidecar that etcd has been silent to, for less than a TTL or longer',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const { sidecar, title } = await someSidecar(scene, random);
    const silentMs = random.between(0, 1.5) * scene.contestants.ttlMs;
    course.begin(`${title}, cut off for ${ms(silentMs)}`);
    await sidecar.firewall.apply(dropRules(scene.etcd.addresses, ['in', 'out']));
    await hold(silentMs);
    const exit = await sidecar.end('SIGTERM');
    course.proves('ended with code 0', exit.code === 0);
    const packets = await sidecar.firewall.stopped();
    course.proves(`${packets} packets dropped`, packets > 0);
    await sidecar.firewall.clear();
    await sidecar.start();
    course.heal();
  },
};

/** SIGSTOP for a while. */
export async function stopped(
  scene: Scene,
  course: Course,
  { sidecar, title }: { readonly sidecar: SidecarHost; readonly title: string },
  lengthMs: number,
): Promise<void> {
  course.begin(`${title}, for ${ms(lengthMs)}`);
  await sidecar.freeze();
  await hold(lengthMs);
  course.proves('all its threads were stopped', isStopped(sidecar.pid));
  sidecar.thaw();
  course.heal();
}

const stoppedShortly: FaultKind = {
  name: 'sigstop-short',
  doc: 'SIGSTOP for less than a TTL',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const whom = await someSidecar(scene, random, 0.9);
    await stopped(scene, course, whom, random.between(0.1, 0.95) * scene.contestants.ttlMs);
  },
};

const stoppedLong: FaultKind = {
  name: 'sigstop-long',
  doc: 'SIGSTOP for longer than a TTL',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const whom = await someSidecar(scene, random, 0.9);
    await stopped(scene, course, whom, longerThanTtl(scene, random));
  },
};

const stoppedRapidly: FaultKind = {
  name: 'sigstop-rapid',
  doc: 'SIGSTOP and SIGCONT in quick succession',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const { sidecar, title } = await someSidecar(scene, random, 0.9);
    const cycles = 12 + random.below(20);
    course.begin(`${title}, ${cycles} times`);
    for (let cycle = 0; cycle < cycles; cycle += 1) {
      await sidecar.freeze();
      await hold(random.between(5, 200));
      if (cycle === cycles - 1) course.proves('stopped each time', isStopped(sidecar.pid));
      sidecar.thaw();
      await hold(random.between(1, 60));
    }
    course.heal();
  },
};

/** Cuts a sidecar off by these rules for a while, and shows that they stopped something of its own. */
export async function cut(
  scene: Scene,
  course: Course,
  { sidecar, title }: { readonly sidecar: SidecarHost; readonly title: string },
  how: {
    readonly rules: Rules;
    readonly lengthMs: number;
    /** What a new connection must come to; null where that is a matter of chance. */
    readonly connection: { readonly to: string; readonly is: 'silent' | 'refused' } | null;
  },
): Promise<void> {
  const { rules, lengthMs, connection } = how;
  course.begin(`${title}, for ${ms(lengthMs)}`);
  const over = hold(lengthMs);
  await sidecar.firewall.apply(rules);
  if (connection !== null) {
    const { to, is } = connection;
    const withinMs = is === 'refused' ? refusedWithinMs : silentAfterMs;
    const result = await tryConnect(sidecar.host, to, etcdClientPort, withinMs);
    course.proves(`a new connection to ${to} is ${is}`, result === is);
  }
  // The packets of that attempt do not count.
  const ours = connection === null ? 0 : await sidecar.firewall.stopped();
  await over;
  const packets = (await sidecar.firewall.stopped()) - ours;
  course.proves(`${packets} more packets stopped`, packets > 0);
  await sidecar.firewall.clear();
  course.heal();
}

const cutFromAll = (name: string, doc: string, ways: readonly Way[]): FaultKind => ({
  name,
  doc,
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const whom = await someSidecar(scene, random);
    const { addresses } = scene.etcd;
    await cut(scene, course, whom, {
      rules: dropRules(addresses, ways),
      lengthMs: longerThanTtl(scene, random),
      connection: { to: addresses[0]!, is: 'silent' },
    });
  },
});

const cutFromOne: FaultKind = {
  name: 'silent-cut-one',
  doc: 'all packets between a sidecar and the member of etcd that it talks to are dropped',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const whom = await someSidecar(scene, random);
    // The one that it talks to: a cut from the others is not noticed.
    const { addresses } = scene.etcd;
    const address = await whom.sidecar.firewall.busiest(
      addresses,
      hold(scene.contestants.ttlMs / 2),
    );
    const member = scene.etcd.members.find((one) => one.address === address)!;
    const title = `${whom.title}, from ${member.name}`;
    await cut(
      scene,
      course,
      { ...whom, title },
      {
        rules: dropRules([member.address], ['in', 'out']),
        lengthMs: longerThanTtl(scene, random),
        connection: { to: member.address, is: 'silent' },
      },
    );
  },
};

const rejected: FaultKind = {
  name: 'rejecting-cut',
  doc: 'all connections between a sidecar and etcd are reset and refused',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const whom = await someSidecar(scene, random);
    const { addresses } = scene.etcd;
    await cut(scene, course, whom, {
      rules: rejectRules(addresses),
      lengthMs: longerThanTtl(scene, random),
      connection: { to: addresses[0]!, is: 'refused' },
    });
  },
};

const blinking: FaultKind = {
  name: 'blinking-link',
  doc: 'a silent cut that comes and goes',
  leaderDue: 'after',
  async run(scene, random, course) {
    const { sidecar, title } = await someSidecar(scene, random);
    const times = 3 + random.below(4);
    const { addresses } = scene.etcd;
    course.begin(`${title}, ${times} times`);
    let packets = 0;
    for (let time = 0; time < times; time += 1) {
      await sidecar.firewall.apply(dropRules(addresses, ['in', 'out']));
      await hold(random.between(0.1, 0.7) * scene.contestants.ttlMs);
      packets += await sidecar.firewall.stopped();
      await sidecar.firewall.clear();
      await hold(random.between(20, 600));
    }
    course.proves(`${packets} packets dropped`, packets > 0);
    course.heal();
  },
};

const unseen: FaultKind = {
  name: 'unseen-change',
  doc: 'a sidecar that does not lead is cut off from etcd, and the leader gives up meanwhile',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const { sidecar: leader, token } = await leaderOf(scene);
    const others = scene.sidecars.members.filter((one) => one !== leader);
    const blind = random.pick(others);
    const lengthMs = longerThanTtl(scene, random);
    const changed = hold(lengthMs / 4).then(() => leader.end('SIGTERM'));
    course.plannedEnds.push(token);
    await cut(
      scene,
      course,
      { sidecar: blind, title: `${blind.name}, a follower of ${leader.name}` },
      {
        rules: dropRules(scene.etcd.addresses, ['in', 'out']),
        lengthMs,
        connection: { to: scene.etcd.addresses[0]!, is: 'silent' },
      },
    );
    course.proves('the leader ended with code 0', (await changed).code === 0);
    await leader.start();
    course.heal();
  },
};

const lossy: FaultKind = {
  name: 'lossy-link',
  doc: 'a share of the packets between a sidecar and etcd is lost',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const { sidecar, title } = await someSidecar(scene, random);
    const share = random.between(0.05, 0.3);
    await cut(
      scene,
      course,
      { sidecar, title: `${title}, ${Math.round(share * 100)} %` },
      {
        rules: { filter: lossRules(scene.etcd.addresses, share) },
        lengthMs: longerThanTtl(scene, random) * 1.5,
        connection: null,
      },
    );
  },
};

const slow: FaultKind = {
  name: 'slow-link',
  doc: 'what a sidecar and etcd say to each other arrives late',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const { sidecar, title } = await someSidecar(scene, random);
    const delayMs = Math.round(random.between(20, 180));
    const { addresses } = scene.etcd;
    const { address, secondAddress } = sidecar.host;
    const places = [address, String(slowLinkPort), secondAddress];
    const lines: string[] = [];
    const relay = await startOn(
      sidecar.host,
      process.execPath,
      [scene.contestants.programs.slowLink, ...places, String(delayMs), ...addresses],
      { env: process.env, onLine: (line) => lines.push(line) },
    );
    try {
      await slowly(scene, random, course, { sidecar, title, delayMs, lines });
    } finally {
      relay.signal('SIGKILL');
    }
    await relay.exited;
    const carried = Number(/\d+/.exec(lines.at(-1) ?? '')?.[0] ?? 0);
    course.proves(`${carried} bytes carried slowly`, carried > 1000);
    course.heal();
  },
};

/** Sends a sidecar's traffic with etcd through the relay for a while; `lines` is what the relay writes. */
async function slowly(
  scene: Scene,
  random: Random,
  course: Course,
  link: {
    readonly sidecar: SidecarHost;
    readonly title: string;
    readonly delayMs: number;
    readonly lines: readonly string[];
  },
): Promise<void> {
  const { sidecar, title, delayMs, lines } = link;
  const { addresses } = scene.etcd;
  const { address } = sidecar.host;
  await eventually(() => lines.filter((line) => line === 'listening').length === addresses.length, {
    withinMs: 10_000,
    what: 'the slow link listens',
  });
  course.begin(`${title}, ${delayMs} to ${2 * delayMs} ms each way`);
  const relays = addresses.map((to, index) => [to, `${address}:${slowLinkPort + index}`] as const);
  await sidecar.firewall.apply(redirectRules(address, new Map(relays)));
  await hold(longerThanTtl(scene, random) * 1.5);
  await sidecar.firewall.clear();
}

/** More than any tolerance; back and forth, so that it ends as it began. */
const stepsSeconds = [3600, -7200, 86_400, 0];

const wallClock: FaultKind = {
  name: 'wall-clock',
  doc: "the leader's wall clock is stepped forth and back",
  leaderDue: 'throughout',
  onlyElectord: true,
  async run(scene, random, course) {
    const sidecar = scene.sidecars.members.find(({ clock }) => clock !== null)!;
    await makeLeader(scene, sidecar, course);
    course.begin(`${sidecar.name}, the leader: ${stepsSeconds.join(', ')} s`);
    for (const seconds of stepsSeconds) {
      sidecar.clock?.step(seconds);
      // Seen in the date of an answer; whole seconds.
      await eventually(
        () => Math.abs((sidecar.news()?.wallMs ?? 0) - Date.now() - seconds * 1000) < 5000,
        { withinMs: 5000, what: `an answer dated ${seconds} s ahead` },
      );
      await hold(random.between(0.3, 0.8) * scene.contestants.ttlMs);
    }
    course.proves('its answers were dated accordingly', true);
    course.heal();
  },
};

/** All of them. */
export const sidecarFaults: readonly FaultKind[] = [
  killed('sigkill-leader', 1, 'SIGKILL to the leader, which comes back at once or later'),
  killed('sigkill-any', 0.34, 'SIGKILL to any sidecar, which comes back at once or later'),
  terminated,
  terminatedCutOff,
  stoppedShortly,
  stoppedLong,
  stoppedRapidly,
  cutFromAll('silent-cut', 'all packets between a sidecar and etcd are dropped', ['in', 'out']),
  cutFromOne,
  rejected,
  cutFromAll('one-way-cut-in', 'what etcd sends to a sidecar is dropped', ['in']),
  cutFromAll('one-way-cut-out', 'what a sidecar sends to etcd is dropped', ['out']),
  blinking,
  unseen,
  lossy,
  slow,
  wallClock,
];
