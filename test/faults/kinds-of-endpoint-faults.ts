// Faults of the endpoints of one sidecar: something else answers at the address of a member of etcd, or of all of them;
// another cluster, a proxy of etcd, a program that is no etcd.
import type { GuardedChild } from '../../src/dev/etcd-child.ts';
import { etcdEnvironment } from '../../src/dev/etcd-cache.ts';
import { monotonicMs } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import type { Random } from '../sim/random.ts';
import { firstToken } from './etcd-hosts.ts';
import { redirectRules, type Rules } from './firewall.ts';
import { startOn, type Host } from './hosts.ts';
import { etcdClientPort } from './ports.ts';
import { hold, longerThanTtl, someSidecar } from './scene.ts';
import type { Course, FaultKind, Scene } from './scene.ts';
import { candidatesPrefix, type SidecarHost } from './sidecar-hosts.ts';

const startsWithinMs = 15_000;

/** An endpoint of another cluster is looked at again after ten seconds. */
const returnsWithinMs = 20_000;

function rulesFor(to: Host, { address }: SidecarHost, addresses: readonly string[]): Rules {
  const place = `${to.address}:${etcdClientPort}`;
  return redirectRules(address, new Map(addresses.map((one) => [one, place])));
}

/**
 * Leads the sidecar's connections with these members of etcd to the host elsewhere, as long as `meanwhile` takes; what is
 * there must end after that.
 */
async function mislead(
  { elsewhere }: Scene,
  course: Course,
  { sidecar, addresses }: { readonly sidecar: SidecarHost; readonly addresses: readonly string[] },
  meanwhile: () => Promise<void>,
): Promise<void> {
  await sidecar.firewall.apply(rulesFor(elsewhere, sidecar, addresses));
  await meanwhile();
  const count = await sidecar.firewall.redirected();
  course.proves(`${count} connections led elsewhere`, count > 0);
}

/** Starts another cluster elsewhere, in which somebody stands in the same election, and ends it after `meanwhile`. */
async function withStranger(
  scene: Scene,
  random: Random,
  meanwhile: () => Promise<void>,
): Promise<void> {
  const { etcd, stranger } = scene;
  const origin = { hosts: [stranger.host], state: 'new', token: firstToken } as const;
  await stranger.wipe();
  await stranger.start(origin);
  try {
    await etcd.untilServing(stranger);
    const at = [stranger] as const;
    for (let count = random.below(20); count >= 0; count -= 1) {
      await etcd.etcdctl(['put', `${candidatesPrefix('electord')}77`, 'a stranger'], { at });
    }
    const before = await etcd.revision(at);
    await meanwhile();
    const after = await etcd.revision(at);
    if (after !== before) throw new Error(`${after - before} writes reached another cluster`);
  } finally {
    await stranger.kill();
  }
}

const saysOther = (sidecar: SidecarHost, since: number): Promise<unknown> =>
  eventually(() => sidecar.trouble(since).includes('other_cluster'), {
    withinMs: startsWithinMs,
    what: `${sidecar.name} says that an endpoint is of another cluster`,
  });

const strangeCluster: FaultKind = {
  name: 'other-cluster',
  doc: 'a member of another cluster answers where all those of etcd did, then only where one did',
  leaderDue: 'throughout',
  onlyElectord: true,
  async run(scene, random, course) {
    const { sidecar, title } = await someSidecar(scene, random);
    const { addresses } = scene.etcd;
    const rest = [random.pick(addresses)];
    await withStranger(scene, random, async () => {
      course.begin(`${title}; then ${rest[0]}`);
      await mislead(scene, course, { sidecar, addresses }, async () => {
        await hold(longerThanTtl(scene, random));
        await saysOther(sidecar, course.startedAt);
      });
      // The connections from before still lead elsewhere.
      await sidecar.firewall.apply(rulesFor(scene.elsewhere, sidecar, rest));
      await scene.sidecars.agreement(returnsWithinMs, monotonicMs());
      await sidecar.firewall.clear();
    });
    course.proves('it said so, came back while one was strange, and wrote nothing there', true);
    course.heal();
  },
};

const strangeAtStart: FaultKind = {
  name: 'two-clusters-at-start',
  doc: 'a sidecar is started whose endpoints are of two clusters',
  leaderDue: 'throughout',
  onlyElectord: true,
  async run(scene, random, course) {
    const { sidecar, title } = await someSidecar(scene, random, 0);
    const [address = ''] = random.shuffle(scene.etcd.configured);
    await withStranger(scene, random, async () => {
      course.begin(`${title}, ${address}`);
      // On a busy machine it may have come to lead since it was chosen.
      const reign = scene.sidecars.leader();
      if (reign?.sidecar === sidecar) course.plannedEnds.push(reign.token);
      await sidecar.end('SIGTERM');
      await mislead(scene, course, { sidecar, addresses: [address] }, async () => {
        await sidecar.start();
        const { code } = await sidecar.endOfItself();
        course.proves('ended with code 78', code === 78);
      });
      await sidecar.firewall.clear();
    });
    await sidecar.start();
    course.heal();
  },
};

/** Starts a program elsewhere, waits until it says that it listens, and ends it after `meanwhile`. */
async function withProgram(
  { elsewhere }: Scene,
  [file = '', ...args]: readonly string[],
  listens: RegExp,
  meanwhile: (program: GuardedChild) => Promise<void>,
): Promise<void> {
  const program = await startOn(elsewhere, file, args, { env: etcdEnvironment() });
  try {
    await eventually(() => listens.test(program.recentOutput()), {
      withinMs: startsWithinMs,
      what: `${file} listens\n${program.recentOutput()}`,
    });
    await meanwhile(program);
  } finally {
    program.signal('SIGKILL');
    await program.exited;
  }
}

/** What a load balancer, another server or a wrong port answers. */
const nonsense = ['401', '403', '404', '200', 'http/1.1', 'nothing'] as const;

const badEndpoint: FaultKind = {
  name: 'bad-endpoint',
  doc: 'what is no etcd answers where etcd did, first at the start or everywhere: 401, 403, 404, 200, HTTP/1.1, nothing',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const answer = random.pick(nonsense);
    const isEverywhere = random.chance(0.5);
    const { sidecar, title } = await someSidecar(scene, random);
    const { elsewhere, contestants, etcd } = scene;
    const program = [process.execPath, contestants.programs.noEtcd];
    const command = [...program, elsewhere.address, String(etcdClientPort), answer];
    const addresses = isEverywhere ? etcd.addresses : etcd.configured.slice(0, 1);
    await withProgram(scene, command, /listening/, async () => {
      course.begin(`${title}, ${answer} ${isEverywhere ? 'everywhere' : 'first'}`);
      if (!isEverywhere) await sidecar.end('SIGKILL');
      await mislead(scene, course, { sidecar, addresses }, async () => {
        if (!isEverywhere) await sidecar.start();
        await hold(longerThanTtl(scene, random));
        // One that is only the first keeps nobody from taking part.
        if (!isEverywhere) await scene.sidecars.agreement(returnsWithinMs, monotonicMs());
      });
      await sidecar.firewall.clear();
    });
    course.heal();
  },
};

const proxied: FaultKind = {
  name: 'grpc-proxy',
  doc: 'a sidecar reaches etcd through etcd grpc-proxy only, which then is frozen or killed',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const { sidecar, title } = await someSidecar(scene, random);
    const { addresses, members } = scene.etcd;
    const own = `${scene.elsewhere.address}:${etcdClientPort}`;
    const endpoints = members.map(({ clientUrl }) => clientUrl).join(',');
    const end = random.pick(['SIGSTOP', 'SIGKILL', 'no'] as const);
    const flags = [`--endpoints=${endpoints}`, `--listen-addr=${own}`];
    const command = [scene.binaries.etcd, 'grpc-proxy', 'start', ...flags];
    await withProgram(scene, command, /started gRPC proxy|listening for/, async (proxy) => {
      course.begin(`${title}; ${end} signal`);
      await mislead(scene, course, { sidecar, addresses }, async () => {
        await hold(longerThanTtl(scene, random));
        await scene.sidecars.agreement(startsWithinMs, course.startedAt);
        course.proves('through it all name one leader', true);
        if (end !== 'no') proxy.signal(end);
        await hold(longerThanTtl(scene, random));
      });
      await sidecar.firewall.clear();
    });
    course.heal();
  },
};

/** All of them. */
export const endpointFaults: readonly FaultKind[] = [
  strangeCluster,
  strangeAtStart,
  badEndpoint,
  proxied,
];
