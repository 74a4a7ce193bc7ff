// Starts the built program as a user would, one sidecar in a process of its own, and gives a test its
// answers (with the time each question was sent, on the machine's one monotonic clock), its log and
// its signals. It does not build the program.
import { existsSync } from 'node:fs';
import { Agent, request } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import type { ChildExit, GuardedChild } from '../../src/dev/etcd-child.ts';
import { projectFolder } from './binaries.ts';
import { reservePorts } from './ports.ts';
import { eventually, within } from './wait.ts';

/** The sidecar wanted. */
export interface SidecarOptions {
  readonly election: string;
  readonly id: string;
  /** etcd's client URLs; null where they are in a file among `args`. */
  readonly etcd: readonly string[] | null;
  /** More flags of `serve`. */
  readonly args?: readonly string[];
  /** More variables for its environment, which has none of ours that begin with ELECTORD. */
  readonly env?: Readonly<Record<string, string>>;
  /** Its public and its local port, where something has to know them before it starts. */
  readonly ports?: readonly [number, number];
  /** Another program than the project's own: an older bundle, a rival. */
  readonly program?: string;
}

/** The body of `/leader`, as the contract has it. */
export interface LeaderAnswer {
  readonly election: string;
  readonly id: string;
  readonly role: string;
  readonly isLeader: boolean;
  readonly leader: {
    readonly id: string;
    readonly address: string | null;
    readonly fencingToken: string;
    readonly since: string;
  } | null;
  readonly fencingToken: string | null;
  readonly validForMs: number;
  readonly observedAgeMs: number | null;
}

/** One answer over HTTP. */
export interface Answer<Body = unknown> {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Parsed where the answer says it is JSON, else undefined. */
  readonly body: Body;
  readonly text: string;
  /** Just before it was sent, in ms of CLOCK_MONOTONIC: the same for every process. */
  readonly sentAt: number;
  /** Just after the last byte came, likewise. */
  readonly receivedAt: number;
}

/** How to ask. */
export interface GetOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** 2 s by default. */
  readonly timeoutMs?: number;
  /** Asks the local listener instead of the public one. */
  readonly local?: boolean;
}

/** A parsed line of the log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** A running (or ended) sidecar. */
export interface Sidecar {
  readonly id: string;
  readonly pid: number;
  /** The public listener. */
  readonly url: string;
  readonly localUrl: string;
  /** Lines of output that are JSON, in order; grows while it runs. */
  readonly logs: readonly LogLine[];
  /** All output so far, both streams. */
  output(): string;
  /**
   * Asks once, over a kept connection.
   *
   * @throws Error when there is no answer within the time.
   */
  get<Body = unknown>(path: string, options?: GetOptions): Promise<Answer<Body>>;
  /** Asks `/leader` until the predicate holds of its body; resolves to that answer. */
  waitFor(
    predicate: (leader: LeaderAnswer, answer: Answer<LeaderAnswer>) => boolean,
    boundMs: number,
  ): Promise<Answer<LeaderAnswer>>;
  /** Resolves to the first log line, past or future, of which the predicate holds. */
  waitForLog(predicate: (line: LogLine) => boolean, boundMs: number): Promise<LogLine>;
  signal(name: NodeJS.Signals): void;
  /** Resolves at its end; never rejects. */
  readonly exited: Promise<ChildExit>;
  /** SIGTERM, and SIGKILL when it has not ended within 15 s; resolves to how it ended. */
  stop(): Promise<ChildExit>;
}

const answerTimeoutMs = 2_000;

/** Above the program's own longest planned end (grace 10 s). */
const stopGraceMs = 15_000;

/** Milliseconds of CLOCK_MONOTONIC, which all processes of the machine share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function environment(extra: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('ELECTORD_'));
  return { ...Object.fromEntries(own), ...extra };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** One HTTP exchange; `reused` says in the error whether the connection was a kept one. */
function exchange(agent: Agent, url: string, options: GetOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, body, timeoutMs = answerTimeoutMs } = options;
    const sentAt = monotonicMs();
    const asked = request(url, { agent, method, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        const receivedAt = monotonicMs();
        clearTimeout(timer);
        const isJson = /json/.test(answer.headers['content-type'] ?? '');
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: isJson ? parseJson(text) : undefined,
          text,
          sentAt,
          receivedAt,
        });
      });
    });
    const timer = setTimeout(() => {
      asked.destroy(new Error(`${method} ${url}: no answer within ${timeoutMs} ms`));
    }, timeoutMs);
    asked.on('error', (error: Error) => {
      clearTimeout(timer);
      // The server may close a kept connection just as we use it; that says nothing about it.
      const isStale = asked.reusedSocket && /ECONNRESET|EPIPE|socket hang up/.test(String(error));
      if (isStale) exchange(agent, url, options).then(resolve, reject);
      else reject(error);
    });
    asked.end(body);
  });
}

/** The log of a process as it grows, and whoever waits for a line of it. */
class Log {
  readonly lines: LogLine[] = [];
  readonly #text: string[] = [];
  readonly #listeners = new Set<(line: LogLine) => void>();

  take(line: string): void {
    this.#text.push(line);
    const parsed = line.startsWith('{') ? parseJson(line) : undefined;
    if (typeof parsed !== 'object' || parsed === null) return;
    this.lines.push(parsed as LogLine);
    for (const listener of this.#listeners) listener(parsed as LogLine);
  }

  text(): string {
    return this.#text.join('\n');
  }

  async first(
    predicate: (line: LogLine) => boolean,
    boundMs: number,
    exited: Promise<ChildExit>,
  ): Promise<LogLine> {
    const past = this.lines.find(predicate);
    if (past !== undefined) return past;
    let listener: (line: LogLine) => void = () => undefined;
    const found = new Promise<LogLine>((resolve, reject) => {
      listener = (line) => {
        if (predicate(line)) resolve(line);
      };
      this.#listeners.add(listener);
      void exited.then(() => reject(new Error(`it ended without that line:\n${this.text()}`)));
    });
    try {
      return await within(found, { withinMs: boundMs, what: 'the awaited line in the log' });
    } finally {
      this.#listeners.delete(listener);
    }
  }
}

function serveArguments(options: SidecarOptions, port: number, localPort: number): string[] {
  return [
    'serve',
    `--election=${options.election}`,
    `--id=${options.id}`,
    ...(options.etcd === null ? [] : [`--etcd=${options.etcd.join(',')}`]),
    `--listen=127.0.0.1:${port}`,
    `--local-listen=127.0.0.1:${localPort}`,
    ...(options.args ?? []),
  ];
}

/**
 * Starts a sidecar; resolves once its process runs, which is before it answers (use `waitFor`).
 *
 * @throws Error when the program has not been built.
 */
export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const program = options.program ?? join(projectFolder, 'dist', 'electord.js');
  if (!existsSync(program)) throw new Error(`${program} is missing: run npm run build first`);
  const [port = 0, localPort = 0] = options.ports ?? (await reservePorts(2));
  const log = new Log();
  const child: GuardedChild = await spawnGuarded({
    file: process.execPath,
    args: [program, ...serveArguments(options, port, localPort)],
    env: environment(options.env ?? {}),
    onLine: (line) => log.take(line),
  });
  const agent = new Agent({ keepAlive: true });
  void child.exited.then(() => agent.destroy());
  const url = `http://127.0.0.1:${port}`;
  const localUrl = `http://127.0.0.1:${localPort}`;
  const get = async <Body>(path: string, how: GetOptions = {}): Promise<Answer<Body>> =>
    (await exchange(agent, (how.local ? localUrl : url) + path, how)) as Answer<Body>;
  const waitFor: Sidecar['waitFor'] = async (predicate, boundMs) => {
    let last: unknown = 'no answer';
    const matching = async (): Promise<Answer<LeaderAnswer> | null> => {
      if (child.exit() !== null) return null;
      const answer = await get<LeaderAnswer>('/leader');
      last = answer.body;
      return predicate(answer.body, answer) ? answer : null;
    };
    const what = `the awaited /leader of ${options.id}`;
    try {
      return await eventually(matching, { withinMs: boundMs, what });
    } catch (error) {
      const seen = `last /leader: ${JSON.stringify(last)}\n${child.recentOutput()}`;
      throw new Error(`${String(error)}\n${seen}`, { cause: error });
    }
  };
  return {
    id: options.id,
    pid: child.pid,
    url,
    localUrl,
    logs: log.lines,
    output: () => log.text(),
    get,
    waitFor,
    waitForLog: (predicate, boundMs) => log.first(predicate, boundMs, child.exited),
    signal: (name) => child.signal(name),
    exited: child.exited,
    stop: () => child.stop(stopGraceMs),
  };
}
