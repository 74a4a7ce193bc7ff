// Full disks: etcd's quota used up, no room under one member of etcd, and none for the log of a sidecar.
import { open, rm, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { etcdQuotaMebibytes } from './etcd-host.ts';
import type { EtcdHost } from './etcd-host.ts';
import { hold, leaderOf, longerThanTtl, makeLeader } from './scene.ts';
import type { FaultKind, Scene } from './scene.ts';

const loadPrefix = '/load/';
const valueBytes = 1024 * 1024;

/**
 * Writes values of a mebibyte, one after another, while `goOn` and until etcd refuses one (unless `stubbornly`); at
 * most four times what the quota allows.
 */
async function write(
  scene: Scene,
  at: readonly EtcdHost[],
  { goOn, stubbornly }: { readonly goOn: () => boolean; readonly stubbornly: boolean },
): Promise<void> {
  const input = join(scene.laboratory.folder, 'value');
  await writeFile(input, 'x'.repeat(valueBytes));
  for (let count = 0; count < 4 * etcdQuotaMebibytes && goOn(); count += 1) {
    // The same few keys again and again: history takes as much room as keys do.
    const put = scene.etcd.etcdctl(['put', `${loadPrefix}${count % 8}`], { at, input });
    const taken = await put.then(
      () => true,
      () => false,
    );
    if (!taken && !stubbornly) return;
  }
}

/** Removes what was written, and gives the room back. */
async function removeLoad(scene: Scene): Promise<void> {
  const { etcd } = scene;
  await etcd.etcdctl(['del', '--prefix', loadPrefix]);
  await etcd.etcdctl(['compaction', String(await etcd.revision())]);
  for (const member of etcd.members) await etcd.etcdctl(['defrag'], { at: [member] });
  await etcd.etcdctl(['alarm', 'disarm']);
}

const noSpace: FaultKind = {
  name: 'etcd-no-space',
  doc: 'the quota of etcd is used up: it refuses all writes but renewals and deletions',
  leaderDue: 'after',
  async run(scene, random, course) {
    course.begin(`quota of ${etcdQuotaMebibytes} MiB`);
    await write(scene, scene.etcd.members, { goOn: () => true, stubbornly: false });
    const alarms = await scene.etcd.etcdctl(['alarm', 'list']);
    course.proves('the alarm NOSPACE is raised', alarms.includes('NOSPACE'));
    await hold(longerThanTtl(scene, random));
    await removeLoad(scene);
    course.heal();
  },
};

const diskFull: FaultKind = {
  name: 'etcd-disk-full',
  doc: 'the disk under one member of etcd is full',
  leaderDue: 'throughout',
  async run(scene, random, course) {
    const member = random.pick(scene.etcd.members);
    const filler = join(member.disk, 'filler');
    course.begin(member.name);
    await fill(filler);
    course.proves('no byte is left', (await freeBytes(filler)) === 0);
    // Through the others, which outvote it.
    const others = scene.etcd.members.filter((one) => one !== member);
    await write(scene, others, { goOn: () => member.isRunning(), stubbornly: true });
    course.proves('the member has ended for want of room', !member.isRunning());
    await hold(longerThanTtl(scene, random));
    await rm(filler);
    await member.start();
    await scene.etcd.untilServing(member);
    await removeLoad(scene);
    course.heal();
  },
};

/** Takes all that is left of a disk. */
async function fill(file: string): Promise<void> {
  const handle = await open(file, 'w');
  const piece = Buffer.alloc(1024 * 1024);
  try {
    for (let size = piece.length; size >= 4096; size = Math.floor(size / 16)) {
      for (;;) {
        const { bytesWritten } = await handle.write(piece, 0, size);
        if (bytesWritten < size) break;
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    await handle.close();
  }
}

/** What is left of the disk that has this file. */
async function freeBytes(file: string): Promise<number> {
  const { bavail, bsize } = await statfs(dirname(file));
  return bavail * bsize;
}

const logFull: FaultKind = {
  name: 'log-disk-full',
  doc: "the disk with the leader's log is full, and it is asked to end",
  leaderDue: 'throughout',
  onlyElectord: true,
  async run(scene, random, course) {
    const sidecar = random.pick(scene.sidecars.members);
    const { token } = await leaderOf(scene);
    course.plannedEnds.push(token);
    const log = join(scene.logDisk, 'log');
    const filler = join(scene.logDisk, 'filler');
    await sidecar.end('SIGTERM');
    await sidecar.start(log);
    await makeLeader(scene, sidecar, course);
    course.begin(`${sidecar.name}, the leader`);
    await fill(filler);
    course.proves('no byte is left', (await freeBytes(log)) === 0);
    await hold(longerThanTtl(scene, random));
    const { sidecar: leader, token: own } = await leaderOf(scene);
    course.proves('it leads all the same', leader === sidecar);
    course.plannedEnds.push(own);
    const exit = await sidecar.end('SIGTERM');
    course.proves('ended with code 0', exit.code === 0);
    await Promise.all([log, filler].map((file) => rm(file)));
    await sidecar.start();
    course.heal();
  },
};

/** All of them. */
export const diskFaults: readonly FaultKind[] = [noSpace, diskFull, logFull];
