// An etcd that lost what it knew: it comes back empty, or from an older snapshot. Nobody may name a leader of the old world
// for longer than a TTL, and none may lead there before an operator has raised etcd above all that was given out.
import { monotonicMs } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import type { Random } from '../sim/random.ts';
import { backUp, writeBack } from './operator.ts';
import { hold, leaderOf, longerThanTtl } from './scene.ts';
import type { Course, FaultKind, Scene } from './scene.ts';
import { candidatesPrefix } from './sidecar-hosts.ts';

/** Rounds of every sidecar, and a second until its probe has asked. */
const refusesWithinMs = 10_000;
/** After a hand-over, on a busy machine. */
const agreesWithinMs = 30_000;

/** What was there before. */
interface Lost {
  /** Of the cluster. */
  readonly id: string;
  readonly revision: number;
  /** The file with the election. */
  readonly backup: string;
  /** When the last member had ended. */
  readonly goneAt: number;
}

/** Saves the election, and ends etcd. */
async function lose(scene: Scene, course: Course, title: string): Promise<Lost> {
  const { etcd } = scene;
  const backup = await backUp(scene);
  const [id, revision] = [await etcd.id(), await etcd.revision()];
  course.begin(title);
  await etcd.kill();
  return { id, revision, backup, goneAt: monotonicMs() };
}

/** Lets the loss last until every sidecar says why it does not use etcd, and nobody is to be named any more. */
async function lasts(scene: Scene, random: Random, course: Course, lost: Lost): Promise<void> {
  await hold(longerThanTtl(scene, random));
  const reason = (await scene.etcd.id()) === lost.id ? 'went_back' : 'other_cluster';
  const what = `every sidecar says ${reason}`;
  const { members } = scene.sidecars;
  await eventually(() => members.every((one) => one.trouble(lost.goneAt).includes(reason)), {
    withinMs: refusesWithinMs,
    what,
  });
  course.proves(what, true);
}

/** With the sidecars ended: while they run, they lead again in the middle of it. */
async function writtenBack(scene: Scene, course: Course, lost: Lost): Promise<void> {
  await scene.sidecars.end();
  course.etcdWasGone(lost.goneAt);
  const said = await writeBack(scene, lost.backup);
  course.proves('the backup is back', / are back/.test(said));
  await scene.sidecars.start();
}

/** Writes until etcd is above where it was; the sidecars go on by themselves. */
async function raised({ etcd }: Scene, course: Course, lost: Lost): Promise<void> {
  course.etcdWasGone(lost.goneAt);
  while ((await etcd.revision()) <= lost.revision) await etcd.etcdctl(['put', 'raised', 'x']);
  course.proves('its revision was raised', true);
}

const wiped: FaultKind = {
  name: 'etcd-wiped',
  doc: 'etcd comes back empty, as the same cluster or as another; an operator writes a backup back',
  leaderDue: 'after',
  onlyElectord: true,
  async run(scene, random, course) {
    const { etcd } = scene;
    await leaderOf(scene);
    const isOther = random.chance(0.5);
    const lost = await lose(scene, course, isOther ? 'as another cluster' : 'with its token');
    await Promise.all(etcd.members.map((member) => member.wipe()));
    await etcd.start(etcd.origin(isOther ? `another-${random.below(1e6)}` : etcd.token));
    await lasts(scene, random, course, lost);
    await writtenBack(scene, course, lost);
    course.heal();
  },
};

/** Leases run anew from the start of an etcd, as long as its own election may take on top. */
const lapsesWithinMs = 20_000;

async function candidates({ etcd }: Scene): Promise<readonly string[]> {
  const keys = await etcd.etcdctl(['get', '--prefix', '--keys-only', candidatesPrefix('electord')]);
  return keys.split('\n').filter((line) => line !== '');
}

/** Waits until none of these candidates of a snapshot stands in the queue. */
async function untilGone(scene: Scene, old: readonly string[]): Promise<void> {
  await eventually(async () => !(await candidates(scene)).some((key) => old.includes(key)), {
    withinMs: lapsesWithinMs,
    what: 'the queue of the snapshot has run out',
  });
}

/** More than the queue of a snapshot writes by running out. */
const writesSince = 40;

/**
 * Has another one lead than in a snapshot of just before, and etcd go on; every sidecar has seen that. Resolves to the
 * snapshot's file.
 */
async function snapshotBeforeTerm(scene: Scene, course: Course): Promise<string> {
  const { etcd, sidecars, laboratory } = scene;
  const { sidecar, token } = await leaderOf(scene);
  const snapshot = await etcd.saveSnapshot(laboratory.folder);
  for (let count = 0; count < writesSince; count += 1) await etcd.etcdctl(['put', 'since', 'x']);
  course.plannedEnds.push(token);
  await sidecar.end('SIGTERM');
  await sidecar.start();
  await sidecars.agreement(agreesWithinMs, monotonicMs());
  return snapshot;
}

const wentBack: FaultKind = {
  name: 'etcd-went-back',
  doc: 'etcd comes back from a snapshot of before the present term, under running sidecars; its revision is raised, or a backup written back',
  leaderDue: 'after',
  onlyElectord: true,
  async run(scene, random, course) {
    const { etcd } = scene;
    const snapshot = await snapshotBeforeTerm(scene, course);
    const lost = await lose(scene, course, 'under running sidecars');
    await etcd.restoreSnapshot(snapshot, 0);
    await etcd.start();
    const old = await candidates(scene);
    await lasts(scene, random, course, lost);
    await untilGone(scene, old);
    // Where other members were there at its beginning the cluster has another id, and who runs never takes it.
    const canGoOn = lost.id === (await etcd.id());
    if (canGoOn && random.chance(0.5)) await raised(scene, course, lost);
    else await writtenBack(scene, course, lost);
    course.heal();
  },
};

/** Above what is given out after a snapshot, and little for what a later backup has to catch up with. */
const bumpBy = 5000;

const restored: FaultKind = {
  name: 'etcd-restored',
  doc: 'by the book: the sidecars are ended, etcd is restored from a snapshot and raised, and they are started',
  leaderDue: 'after',
  onlyElectord: true,
  async run(scene, _random, course) {
    const { etcd, sidecars, contestants } = scene;
    const snapshot = await snapshotBeforeTerm(scene, course);
    const backup = await backUp(scene);
    const revision = await etcd.revision();
    const bump = (await etcd.canBump()) ? bumpBy : 0;
    const { token } = await leaderOf(scene);
    course.plannedEnds.push(token);
    course.begin(bump > 0 ? `raised by ${bump}` : 'raised by the backup');
    await sidecars.end();
    await etcd.kill();
    await etcd.restoreSnapshot(snapshot, bump);
    await etcd.start();
    const backAt = monotonicMs();
    if (bump === 0) await writeBack(scene, backup);
    course.proves('its revision is greater', (await etcd.revision()) > revision);
    const old = await candidates(scene);
    await sidecars.start();
    await untilGone(scene, old);
    // Its leader was first until then, and a name may be as old as a TTL.
    if (old.length > 0) course.revived = { from: backAt, to: monotonicMs() + contestants.ttlMs };
    course.heal();
  },
};

/** All of them. */
export const lostEtcds: readonly FaultKind[] = [wiped, wentBack, restored];
