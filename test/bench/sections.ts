// What is measured of single servers: start, answers, memory, and what they do while nobody asks. Every kind has its turn in
// every round.
import { setTimeout as delay } from 'node:timers/promises';
import { alternating, kindNames, type Figure, type Kind } from './figures.ts';
import { processorUs, residentMib, wakeUps } from './kernel.ts';
import { firstAnswer, ttlSeconds, type Lab, type Server } from './lab.ts';
import { connections, loaded } from './load.ts';

/** How long each stretch takes. */
export interface Lengths {
  /** Before anything is measured of a server that has just been started. */
  readonly settleMs: number;
  readonly loadSeconds: number;
  readonly idleMs: number;
}

/** What a section needs. */
export interface Bench {
  readonly lab: Lab;
  readonly rounds: number;
  readonly lengths: Lengths;
}

/** A third of the rounds, for what takes half a minute each. */
const fewer = (rounds: number): number => Math.ceil(rounds / 3);

/** Starts each of these, and stops them whatever comes of it. */
async function withServers<Result>(
  lab: Lab,
  who: readonly Kind[],
  use: (servers: ReadonlyMap<Kind, Server>) => Promise<Result>,
): Promise<Result> {
  const servers = new Map<Kind, Server>();
  try {
    for (const kind of who) {
      const server = await lab.start(kind);
      servers.set(kind, server);
      await server.leads();
    }
    return await use(servers);
  } finally {
    await Promise.all([...servers.values()].map((server) => server.stop()));
  }
}

/** From the start of the process to its first answer, and to its first 200. */
export async function start({ lab, rounds }: Bench): Promise<readonly Figure[]> {
  const who = lab.here(['electord', 'bare', 'express', 'etcd3', 'go']);
  const seen = await alternating<'answers' | 'leads'>(rounds, who, async (kind) => {
    const server = await lab.start(kind);
    try {
      const answers = (await firstAnswer(server, (status) => status > 0)) - server.startedAt;
      const leads = (await firstAnswer(server, (status) => status === 200)) - server.startedAt;
      return { answers, leads };
    } finally {
      await server.stop();
    }
  });
  const common = { unit: 'ms', digits: 1 };
  const { bare = [], ...leading } = seen('leads');
  delete leading.express;
  return [
    {
      ...{ ...common, name: 'first answer from start', values: seen('answers') },
      target: { of: ['bare'], atMost: 1.3 },
    },
    {
      ...{ ...common, name: 'leading from start', values: { ...leading, bare } },
      target: { of: ['bare'], atMost: 1.7 },
    },
  ];
}

const rpsName = `/leader at ${connections} connections`;

export async function rps({ lab, rounds, lengths }: Bench): Promise<readonly Figure[]> {
  const notMeasured = lab.absent.get('wrk');
  const who = notMeasured === undefined ? lab.here(['electord', 'bare', 'express', 'go']) : [];
  const seen = await withServers(lab, who, async (servers) => {
    // What is compiled under load is compiled before.
    for (const { port } of servers.values()) await loaded(port, lengths.loadSeconds);
    return alternating<'perSecond' | 'p99Ms' | 'usEach'>(rounds, who, async (kind) => {
      const { port, child } = servers.get(kind)!;
      const before = processorUs(child.pid);
      const { requests, perSecond, p99Ms } = await loaded(port, lengths.loadSeconds);
      return { perSecond, p99Ms, usEach: (processorUs(child.pid) - before) / requests };
    });
  });
  const missing = notMeasured === undefined ? {} : { notMeasured };
  return [
    {
      ...{ name: rpsName, unit: 'requests/s', digits: 0, values: seen('perSecond'), ...missing },
      target: { of: ['bare'], atLeast: 0.9 },
    },
    {
      ...{ name: `${rpsName}, p99`, unit: 'ms', digits: 2, values: seen('p99Ms'), ...missing },
      target: { of: ['bare'], atMost: 1 },
    },
    {
      name: `${rpsName}, CPU`,
      ...{ unit: 'µs/request', digits: 1, values: seen('usEach'), ...missing },
      target: { of: ['bare'] },
    },
  ];
}

/** Of one process after it has led for a while, and again after it has answered for a while. */
export async function memory({ lab, rounds, lengths }: Bench): Promise<readonly Figure[]> {
  const notMeasured = lab.absent.get('wrk');
  const who = lab.here(['electord', 'bare', 'express', 'etcd3', 'go']);
  const seen = await alternating<'idle' | 'loaded'>(fewer(rounds), who, (kind) =>
    withServers(lab, [kind], async (servers) => {
      const { port, child } = servers.get(kind)!;
      await delay(lengths.settleMs);
      const idle = residentMib(child.pid);
      if (notMeasured !== undefined) return { idle };
      await loaded(port, lengths.loadSeconds * 2);
      return { idle, loaded: residentMib(child.pid) };
    }),
  );
  const common = { unit: 'MiB', digits: 1, target: { of: ['bare'], atMost: 1.3 } } as const;
  return [
    { ...common, name: 'resident, idle leader', values: seen('idle') },
    {
      ...{ ...common, name: 'resident after that load', values: seen('loaded') },
      ...(notMeasured === undefined ? {} : { notMeasured }),
    },
  ];
}

/** All kinds at the same time: they do next to nothing. */
export async function idle({ lab, rounds, lengths }: Bench): Promise<readonly Figure[]> {
  const who = lab.here(['electord', 'bare', 'etcd3', 'go']);
  const spent: Partial<Record<Kind, number[]>> = {};
  const woken: Partial<Record<Kind, number[]>> = {};
  await withServers(lab, who, async (servers) => {
    await delay(lengths.settleMs);
    for (let round = 0; round < fewer(rounds); round += 1) {
      const look = () =>
        [...servers].map(([kind, { child }]) => {
          const at = performance.now();
          return { kind, at, us: processorUs(child.pid), wakes: wakeUps(child.pid) };
        });
      const before = look();
      await delay(lengths.idleMs);
      for (const [index, after] of look().entries()) {
        const { at, us, wakes } = before[index]!;
        const seconds = (after.at - at) / 1000;
        (spent[after.kind] ??= []).push((after.us - us) / seconds / 10_000);
        (woken[after.kind] ??= []).push((after.wakes - wakes) / seconds);
      }
    }
  });
  const name = `idle leader, TTL ${ttlSeconds} s`;
  return [
    { name: `CPU, ${name}`, unit: '%', digits: 3, values: spent, target: { atMost: 0.2 } },
    { name: `wake-ups, ${name}`, unit: 'a second', digits: 1, values: woken, target: {} },
  ];
}

/** For the lines above the table. */
export const absentText = (lab: Lab): string =>
  [...lab.absent].map(([who, why]) => `${who === 'wrk' ? who : kindNames[who]}: ${why}`).join('\n');
