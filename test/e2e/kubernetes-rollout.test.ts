// What a rollout does to leadership: real sidecars on a real etcd are ended and started again in the order in which
// the controllers of Kubernetes do it, and terms are counted. A pod's end is what the manifests say it is: `electord
// hand-over`, then SIGTERM. The controllers themselves are not here, only their order.
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { projectFolder } from '../harness/binaries.ts';
import { startEtcdCluster } from '../harness/etcd.ts';
import type { EtcdCluster } from '../harness/etcd.ts';
import { startSidecar } from '../harness/sidecar.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';

const program = join(projectFolder, 'dist/electord.js');
const readyWithinMs = 30_000;
/** Far above any stall of the machine: a term that lapses would be counted as a move. */
const ttl = '--ttl=60s';

let etcd: EtcdCluster | undefined;
let elections = 0;
let set: PodSet;

beforeAll(async () => {
  etcd = await startEtcdCluster({ size: 1 });
}, 120_000);

afterAll(() => etcd?.stop());

afterEach(() => set.stop());

interface Members {
  readonly members: readonly {
    readonly id: string;
    readonly place: number | null;
    readonly self: boolean;
  }[];
}

/** The pods of one app, in an election of their own. */
class PodSet {
  readonly #election = `rollout-${(elections += 1)}`;
  readonly #running = new Map<string, Sidecar>();
  readonly #all: Sidecar[] = [];

  /** Starts a pod; resolves when it is ready and stands in the queue, which minReadySeconds stands for. */
  async start(id: string): Promise<void> {
    const sidecar = await startSidecar({
      election: this.#election,
      id,
      etcd: etcd?.endpoints ?? [],
      args: [ttl],
    });
    this.#running.set(id, sidecar);
    this.#all.push(sidecar);
    const stands = async (): Promise<boolean> => {
      if ((await sidecar.get('/readyz')).status !== 200) return false;
      const { members } = (await sidecar.get<Members>('/members')).body;
      return members.some(({ self, place }) => self && place !== null);
    };
    await eventually(stands, { withinMs: readyWithinMs, what: `${id} is ready` });
    await this.leader();
  }

  /** Ends a pod as Kubernetes does; with or without the hand-over. */
  async end(id: string, { preStop }: { preStop: boolean }): Promise<void> {
    const sidecar = this.#get(id);
    if (preStop) {
      const own = ['--election', this.#election, '--local-listen', new URL(sidecar.localUrl).host];
      const args = [program, 'hand-over', ...own];
      const ran = await runCommand(process.execPath, args, { timeoutMs: 30_000 });
      expect(ran.code, ran.stderr).toBe(0);
      expect(ran.stdout).toMatch(/leads no election|handed over to/);
    }
    this.#running.delete(id);
    expect((await sidecar.stop()).code).toBe(0);
    if (this.#running.size > 0) await this.leader();
  }

  /** The leader that all running pods name. */
  leader(): Promise<string> {
    const agreed = async (): Promise<string | null> => {
      const answers = await Promise.all(
        [...this.#running.values()].map(async (sidecar) => sidecar.waitFor(() => true, 5_000)),
      );
      const leaders = new Set(answers.map(({ body }) => body.leader?.id ?? ''));
      const [leader = ''] = leaders;
      const claims = answers.filter(({ body }) => body.isLeader).map(({ body }) => body.id);
      return leaders.size === 1 && claims.length === 1 && claims[0] === leader ? leader : null;
    };
    return eventually(agreed, { withinMs: readyWithinMs, what: 'one leader, known to all' });
  }

  /** How many terms there have been, by the word of those who led. */
  terms(): number {
    const tokens = this.#all
      .flatMap(({ logs }) => logs)
      .filter((line) => line['cause'] === 'elected' && line['msg'] === `leads ${this.#election}`)
      .map((line) => line['term']);
    return new Set(tokens).size;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#running.values()].map((sidecar) => sidecar.stop()));
  }

  #get(id: string): Sidecar {
    const sidecar = this.#running.get(id);
    if (sidecar === undefined) throw new Error(`${id} does not run`);
    return sidecar;
  }
}

/** Pods that have come in this order, so that the first one leads and the others queue behind it. */
async function pods(...ids: string[]): Promise<PodSet> {
  set = new PodSet();
  for (const id of ids) await set.start(id);
  expect(await set.leader()).toBe(ids[0]);
  expect(set.terms()).toBe(1);
  return set;
}

type Rollout = (set: PodSet) => Promise<void>;

/** How often a rollout moves leadership. */
async function moves(rollout: Rollout): Promise<number> {
  const before = set.terms();
  await rollout(set);
  return set.terms() - before;
}

const one = 'orders-0';
const two = 'orders-1';
const three = 'orders-2';

/** Those pods, one after the other, each under its own name again. */
const replacing =
  (order: readonly string[], how: { preStop: boolean }): Rollout =>
  async (pods) => {
    for (const id of order) {
      await pods.end(id, how);
      await pods.start(id);
    }
  };

/** A StatefulSet's RollingUpdate: from the highest ordinal down. */
const statefulSet = (how: { preStop: boolean }): Rollout => replacing([three, two, one], how);

/** A StatefulSet with OnDelete, whose pods a person or a script deletes: the leader last. */
const leaderLast: Rollout = async (pods) => {
  const leader = await pods.leader();
  const followers = [three, two, one].filter((id) => id !== leader);
  await replacing([...followers, leader], { preStop: true })(pods);
};

/** A Deployment with maxSurge 1 and maxUnavailable 0: a new pod is there before an old one goes. */
const deployment =
  (order: readonly string[], how: { preStop: boolean }): Rollout =>
  async (pods) => {
    for (const id of order) {
      await pods.start(`${id}-new`);
      await pods.end(id, how);
    }
  };

test('StatefulSet by SIGTERM alone: one move at best, and the next rollout is the worst case', async () => {
  await pods(one, two, three);
  expect(await moves(statefulSet({ preStop: false }))).toBe(1);
  // It rests with the pod that every rollout begins with, and the queue is in the order of the rollout.
  expect(await set.leader()).toBe(three);
  expect(await moves(statefulSet({ preStop: false }))).toBe(3);
  expect(await set.leader()).toBe(three);
}, 180_000);

test('StatefulSet with the hand-over: one move, or two where the highest ordinal leads', async () => {
  await pods(one, two, three);
  const seen: [string, number][] = [];
  for (let rollout = 0; rollout < 4; rollout += 1) {
    seen.push([await set.leader(), await moves(statefulSet({ preStop: true }))]);
  }
  const expected = seen.map(([leader]) => [leader, leader === three ? 2 : 1]);
  expect(seen).toEqual(expected);
  // Both cases were there: orders-0 to orders-1, to orders-2, and from there by way of another.
  expect(new Set(seen.map(([, count]) => count))).toEqual(new Set([1, 2]));
}, 240_000);

test('StatefulSet with OnDelete, the leader last: one move, whoever leads', async () => {
  await pods(three, two, one);
  for (let rollout = 0; rollout < 2; rollout += 1) expect(await moves(leaderLast)).toBe(1);
}, 180_000);

test('Deployment by SIGTERM alone: as many moves as pods, where the oldest go first', async () => {
  await pods(one, two, three);
  expect(await moves(deployment([one, two, three], { preStop: false }))).toBe(3);
}, 120_000);

test.each([
  [one, two, three],
  [three, two, one],
])(
  'Deployment with the hand-over: one move when it ends %s, %s, %s',
  async (...order) => {
    await pods(one, two, three);
    expect(await moves(deployment(order, { preStop: true }))).toBe(1);
    expect(await set.leader()).toMatch(/-new$/);
  },
  120_000,
);
