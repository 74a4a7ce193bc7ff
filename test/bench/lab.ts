// Where the benchmark measures: one etcd that writes to the disk as in life, and servers of every kind, each in a process
// of its own, each alone in an election of its own.
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { spawnGuarded, type GuardedChild } from '../../src/dev/etcd-child.ts';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { reservePorts } from '../harness/ports.ts';
import { eventually } from '../harness/wait.ts';
import type { Kind } from './figures.ts';
import { bundled, goPeer, root } from './peers.ts';

export const ttlSeconds = 5;

/** A server that was started. */
export interface Server {
  readonly child: GuardedChild;
  readonly port: number;
  /** When it was started, of `performance.now()`. */
  readonly startedAt: number;
  /** Resolves once it leads; a bare one "leads" once it answers. */
  leads(): Promise<void>;
  stop(): Promise<unknown>;
}

export interface Lab {
  readonly cluster: EtcdCluster;
  /** What is not on this machine, and why. */
  readonly absent: ReadonlyMap<Kind | 'wrk', string>;
  /** Of these, who can be started here. */
  here(kinds: readonly Kind[]): readonly Kind[];
  start(kind: Kind): Promise<Server>;
  /** The peer in Go, where it could be built. */
  readonly goProgram: string | null;
  close(): Promise<void>;
}

/** The status of one answer on a connection of its own; 0 where there is none. */
export function statusOf(port: number): Promise<number> {
  return new Promise((resolve) => {
    const asked = get({ host: '127.0.0.1', port, path: '/leader', agent: false }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode ?? 0));
    });
    asked.setTimeout(1000, () => asked.destroy());
    asked.on('error', () => resolve(0));
  });
}

/** How precisely starts are measured. */
const pollEveryMs = 1;
const leadsWithinMs = 20_000;
const stopWithinMs = 15_000;

/** Asks again and again; resolves to the moment of the first answer that `is` it. */
export async function firstAnswer(
  { port, child }: Server,
  is: (status: number) => boolean,
): Promise<number> {
  const deadline = performance.now() + leadsWithinMs;
  while (!is(await statusOf(port))) {
    if (child.exit() !== null || performance.now() > deadline)
      throw new Error(`no answer from what was started:\n${child.recentOutput()}`);
    await delay(pollEveryMs);
  }
  return performance.now();
}

/** What electord answers as a leader: the very headers and body that its peers send too. */
function answerOf(port: number): Promise<{ headers: Record<string, string>; body: string }> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/leader', agent: false }, (answer) => {
      const headers: Record<string, string> = {};
      const raw = answer.rawHeaders;
      for (let index = 0; index < raw.length; index += 2) {
        const [name = '', value = ''] = [raw[index], raw[index + 1]];
        // These each server writes itself.
        if (!/^(date|connection|keep-alive)$/i.test(name)) headers[name] = value;
      }
      let body = '';
      answer.setEncoding('utf8').on('data', (text: string) => (body += text));
      answer.on('end', () => resolve({ headers, body }));
    }).on('error', reject);
  });
}

/** The command of one server. */
interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

export async function openLab(): Promise<Lab> {
  const absent = new Map<Kind | 'wrk', string>();
  const { code } = await runCommand('wrk', ['--version'], { timeoutMs: 20_000 });
  // Where it is, it has no answer to that but its usage, and fails.
  if (code === null) absent.set('wrk', 'wrk is not here');
  const go = await goPeer();
  if ('absent' in go) absent.set('go', go.absent);
  const goProgram = 'program' in go ? go.program : null;
  const programs = {
    bare: await bundled('peer-bare', 'cjs'),
    express: await bundled('peer-express'),
    etcd3: await bundled('peer-etcd3'),
  };
  const cluster = await startEtcdCluster({ size: 1, extraArgs: ['--unsafe-no-fsync=false'] });
  const etcd = cluster.endpoints.join(',');
  let count = 0;
  let answer = '{}';

  const commandOf = (kind: Kind, port: number, localPort: number): Command => {
    const election = `bench-${(count += 1)}`;
    const node = (program: string, ...args: string[]): Command => ({
      file: process.execPath,
      args: [program, ...args],
    });
    const candidate = [etcd, election, 'a', String(ttlSeconds), String(port)];
    switch (kind) {
      case 'electord':
        return node(
          ...([join(root, 'dist', 'electord.js'), 'serve', `--election=${election}`] as const),
          ...['--id=a', `--etcd=${etcd}`, `--ttl=${ttlSeconds}s`],
          ...[`--listen=127.0.0.1:${port}`, `--local-listen=127.0.0.1:${localPort}`],
        );
      case 'bare':
      case 'express':
        return node(programs[kind], String(port));
      case 'etcd3':
        return node(programs.etcd3, ...candidate);
      case 'go':
        return { file: goProgram ?? '', args: candidate };
      case 'etcdctl':
        throw new Error('it answers no HTTP');
    }
  };

  const start = async (kind: Kind): Promise<Server> => {
    const [port = 0, localPort = 0] = await reservePorts(2);
    const command = commandOf(kind, port, localPort);
    const startedAt = performance.now();
    const env = { PATH: process.env['PATH'], ANSWER: answer };
    const child = await spawnGuarded({ ...command, env });
    return {
      child,
      port,
      startedAt,
      leads: async () => {
        const bound = { withinMs: leadsWithinMs, what: `${kind} leads` };
        await eventually(async () => (await statusOf(port)) === 200, bound);
      },
      stop: () => child.stop(stopWithinMs),
    };
  };

  try {
    const model = await start('electord');
    await model.leads();
    answer = JSON.stringify(await answerOf(model.port));
    await model.stop();
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return {
    cluster,
    absent,
    here: (kinds) => kinds.filter((kind) => !absent.has(kind)),
    start,
    goProgram,
    close: () => cluster.stop(),
  };
}
