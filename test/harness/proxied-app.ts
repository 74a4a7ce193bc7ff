// An app behind the proxies, and clients that write to it without a break: what arrived where, in which term, and what
// became of each write. Times are those of the machine's one monotonic clock.
import { Agent, createServer, request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { monotonicMs } from './sidecar.ts';

export interface Arrival {
  readonly write: string;
  readonly at: number;
  readonly token: string | undefined;
}

/** Answers with its name; on `/echo` with the request, on `/slow` after 300 ms, on `/hang` never. */
export class ProxiedApp {
  readonly name: string;
  readonly arrivals: Arrival[] = [];
  /** The paths of all requests. */
  readonly asked: string[] = [];
  /** When its first answer to a write was begun, by term. */
  readonly firstAnswer = new Map<string, number>();
  readonly server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(name: string, server: Server) {
    this.name = name;
    this.server = server;
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.on('request', (asked, answer) => {
      const token = asked.headers['x-electord-fencing-token'] as string | undefined;
      this.asked.push(asked.url ?? '');
      if (asked.method === 'POST') {
        this.arrivals.push({ write: asked.url ?? '', at: monotonicMs(), token });
      }
      const reply = (): void => {
        if (token !== undefined && !this.firstAnswer.has(token)) {
          this.firstAnswer.set(token, monotonicMs());
        }
        answer.end(name);
      };
      const [path] = (asked.url ?? '').split('?');
      if (path === '/hang') return;
      if (path === '/echo') void this.#echo(asked).then((text) => answer.end(text));
      else if (path === '/slow') setTimeout(reply, 300);
      else asked.resume().on('end', reply);
    });
  }

  static async start(name: string): Promise<ProxiedApp> {
    const server = createServer({ keepAliveTimeout: 30_000 });
    const app = new ProxiedApp(name, server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return app;
  }

  get address(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** As a process that is killed: whatever is open breaks. */
  async kill(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  async #echo(asked: IncomingMessage): Promise<string> {
    let body = '';
    for await (const part of asked.setEncoding('utf8')) body += String(part);
    const { method, url, headers, trailers } = asked;
    return JSON.stringify({ method, url, headers, trailers, body, by: this.name });
  }
}

/** Longer than a proxy holds any request, and than an app may think about it. */
const patienceMs = 60_000;

export interface Written {
  readonly write: string;
  readonly sentAt: number;
  readonly tookMs: number;
  /** The name of the app, or what went wrong. */
  readonly result: string;
  readonly ok: boolean;
}

export interface LoadOptions {
  /** Proxies, used in turn. */
  readonly urls: readonly string[];
  readonly method?: 'POST' | 'GET';
  readonly connections: number;
  readonly perSecond: number;
}

/** Writes so many a second on so many kept connections until it is stopped. */
export function startLoad({ urls, method = 'POST', connections, perSecond }: LoadOptions): {
  stop(): Promise<readonly Written[]>;
} {
  const all: Written[] = [];
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  let running = true;
  let number = 0;
  const one = (url: string, write: string): Promise<void> =>
    new Promise((resolve) => {
      const sentAt = monotonicMs();
      const done = (result: string, ok: boolean): void => {
        all.push({ write, sentAt, tookMs: monotonicMs() - sentAt, result, ok });
        resolve();
      };
      const asked = request(`${url}${write}`, { agent, method, timeout: patienceMs }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => (text += part));
        answer.on('error', (error) => done(error.message, false));
        answer.on('end', () =>
          done(
            answer.statusCode === 200 ? text : String(answer.statusCode),
            answer.statusCode === 200,
          ),
        );
      });
      asked.on('timeout', () => asked.destroy(new Error('no answer')));
      asked.on('error', (error) => done(error.message, false));
      asked.end(method === 'POST' ? 'x' : undefined);
    });
  const pauseMs = (connections / perSecond) * 1000;
  const client = async (url: string): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * pauseMs));
    while (running) {
      const due = monotonicMs() + pauseMs;
      number += 1;
      await one(url, `/write?${number}`);
      const left = due - monotonicMs();
      if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
    }
  };
  const clients = Array.from({ length: connections }, (_, index) =>
    client(urls[index % urls.length] ?? ''),
  );
  return {
    stop: async () => {
      running = false;
      await Promise.all(clients);
      agent.destroy();
      return all;
    },
  };
}

/** Writes that reached an app after another one had answered one of a later term, sent by their client after that too. */
export function misled(
  apps: readonly ProxiedApp[],
  written: readonly Written[],
): readonly string[] {
  const sentAt = new Map(written.map((one) => [one.write, one.sentAt]));
  const answered = apps.flatMap(({ name, firstAnswer }) =>
    [...firstAnswer].map(([token, at]) => ({ name, token: BigInt(token), at })),
  );
  return apps.flatMap(({ name, arrivals }) =>
    arrivals.flatMap(({ write, token, at }) => {
      const sent = sentAt.get(write) ?? at;
      const later = answered.find(
        (one) => one.name !== name && one.token > BigInt(token ?? 0) && one.at < sent,
      );
      return later === undefined
        ? []
        : [
            `${write} reached ${name} in ${String(token)}, answered by ${later.name} before it was sent`,
          ];
    }),
  );
}
