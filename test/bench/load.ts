// Load on one server, by wrk: 32 connections, each sending a request when the answer to the one before is there.
import { runCommand } from '../../src/dev/etcd-command.ts';

export const connections = 32;

const inMs: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 };

/** What wrk saw. */
export interface Seen {
  readonly requests: number;
  readonly perSecond: number;
  readonly p99Ms: number;
}

/** @throws Error with what wrk wrote, where an answer was no success or a connection failed. */
export function parseWrk(text: string): Seen {
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(text);
  const p99 = /99%\s+([\d.]+)(us|ms|s)/.exec(text);
  return {
    requests: Number(/(\d+) requests in/.exec(text)?.[1]),
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1]),
    p99Ms: Number(p99?.[1]) * (inMs[p99?.[2] ?? ''] ?? NaN),
  };
}

/**
 * Asks `/leader` for so many whole seconds.
 *
 * @throws Error with what wrk wrote, as {@link parseWrk} does and where it failed.
 */
export async function loaded(port: number, seconds: number): Promise<Seen> {
  const options = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency'];
  const args = [...options, `http://127.0.0.1:${port}/leader`];
  const done = await runCommand('wrk', args, { timeoutMs: seconds * 1000 + 30_000 });
  if (done.code !== 0) throw new Error(`${done.stdout}${done.stderr}`);
  return parseWrk(done.stdout);
}
