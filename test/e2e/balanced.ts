// What the tests of load balancers have in common: three apps that refuse a write unless their own sidecar leads, with
// sidecars on a real etcd; and a load of writes that counts what fails.
import { Agent, createServer, request, type Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { startEtcdCluster, type EtcdCluster } from '../harness/etcd.ts';
import { reservePorts } from '../harness/ports.ts';
import { monotonicMs, startSidecar, type LeaderAnswer, type Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement } from './stage.ts';

/** No machine is so busy that a term is lost by being slow. */
const ttlMs = 10_000;
const withinMs = 20_000;

/** A sidecar and the app beside it. */
export interface Pair {
  readonly name: string;
  readonly appPort: number;
  readonly agentPort: number;
  readonly sidecar: Sidecar;
}

export interface Answered {
  readonly status: number;
  readonly text: string;
}

/** One request; status 0 where there is no whole answer. */
export function ask(
  url: string,
  { method = 'POST', agent = false }: { method?: string; agent?: Agent | false } = {},
): Promise<Answered> {
  return new Promise((resolve) => {
    const asked = request(url, { method, agent, timeout: 5000 }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part));
      answer.on('error', () => resolve({ status: 0, text: 'cut off' }));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer within 5 s')));
    asked.on('error', (error) => resolve({ status: 0, text: error.message }));
    asked.end();
  });
}

export class Balanced {
  /** How many requests for `/hang` have reached an app. */
  hanging = 0;
  readonly pairs: readonly Pair[];
  readonly etcd: EtcdCluster;
  readonly #apps: readonly Server[];

  private constructor(etcd: EtcdCluster, pairs: readonly Pair[], apps: readonly Server[]) {
    this.etcd = etcd;
    this.pairs = pairs;
    this.#apps = apps;
  }

  static async start(): Promise<Balanced> {
    const etcd = await startEtcdCluster({ size: 1 });
    const ports = await reservePorts(6);
    const apps: Server[] = [];
    const onHang = (): void => void (stage.hanging += 1);
    const started = [0, 1, 2].map(async (index): Promise<Pair> => {
      const [appPort = 0, agentPort = 0] = ports.slice(2 * index);
      const name = `app-${index + 1}`;
      const sidecar = await startSidecar({
        ...{ election: 'orders', id: name, etcd: etcd.endpoints },
        args: [
          `--ttl=${ttlMs}ms`,
          `--advertise=127.0.0.1:${appPort}`,
          `--agent-check=127.0.0.1:${agentPort}`,
        ],
      });
      apps.push(await startApp({ name, appPort, sidecar }, onHang));
      return { name, appPort, agentPort, sidecar };
    });
    const stage = new Balanced(etcd, await Promise.all(started), apps);
    return stage;
  }

  async leader(among: readonly Pair[] = this.pairs): Promise<Pair> {
    const { leader } = await agreement(among.map(({ sidecar }) => sidecar));
    return among.find(({ sidecar }) => sidecar === leader)!;
  }

  /** Hands over to the next one; resolves to it once it leads. */
  async switchOver(): Promise<Pair> {
    const from = await this.leader();
    const to = this.pairs[(this.pairs.indexOf(from) + 1) % this.pairs.length]!;
    const { status, text } = await to.sidecar.get('/switchover', {
      ...{ local: true, method: 'POST', timeoutMs: withinMs },
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ to: to.name }),
    });
    if (status !== 200) throw new Error(`the switchover was refused: ${text}`);
    return to;
  }

  async end(): Promise<void> {
    await Promise.all(this.pairs.map(({ sidecar }) => sidecar.stop()));
    for (const app of this.#apps) app.close().closeAllConnections();
    await this.etcd.stop();
  }
}

/** Answers with its own name: reads always, writes 503 unless its own sidecar says that it leads. `/hang` never ends. */
function startApp(
  { name, appPort, sidecar }: Pick<Pair, 'name' | 'appPort' | 'sidecar'>,
  onHang: () => void,
): Promise<Server> {
  const server = createServer((asked, answer) => {
    asked.resume();
    if (asked.url === '/hang') {
      onHang();
      answer.writeHead(200).flushHeaders();
      return;
    }
    if (asked.method === 'GET') return void answer.end(name);
    void sidecar
      .get<LeaderAnswer>('/leader')
      .then(
        ({ status }) => status === 200,
        () => false,
      )
      .then((leads) => answer.writeHead(leads ? 201 : 503).end(name));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(appPort, '127.0.0.1', () => resolve(server));
  });
}

export interface Failure {
  readonly atMs: number;
  readonly why: string;
}

/** So many writers, and so long from one write of each to its next: some 320 a second. */
const writers = 4;
const everyMs = 12.5;

/** A constant load of writes, each writer over a kept connection of its own. */
export class WriteLoad {
  sent = 0;
  readonly failures: Failure[] = [];
  slowestMs = 0;
  #running = true;
  readonly #all: Promise<unknown>;

  constructor(url: string) {
    this.#all = Promise.all(Array.from({ length: writers }, () => this.#write(url)));
  }

  async #write(url: string): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    let next = monotonicMs();
    while (this.#running) {
      const sentAt = monotonicMs();
      this.sent += 1;
      const { status, text } = await ask(url, { agent });
      if (status !== 201) this.failures.push({ atMs: sentAt, why: `${status} ${text.trim()}` });
      this.slowestMs = Math.max(this.slowestMs, monotonicMs() - sentAt);
      next = Math.max(next + everyMs, monotonicMs());
      await delay(next - monotonicMs());
    }
    agent.destroy();
  }

  /** Waits until so many more writes have got through in a row. */
  async settled(count = 250): Promise<void> {
    let [from, failed] = [this.sent, this.failures.length];
    const through = (): boolean => {
      if (this.failures.length > failed) [from, failed] = [this.sent, this.failures.length];
      return this.sent - from >= count;
    };
    await eventually(through, { withinMs, what: `${count} writes in a row` });
  }

  async end(): Promise<void> {
    this.#running = false;
    await this.#all;
  }
}

/** From the first to the last of them, and how many. */
export function spanOf(failures: readonly Failure[]): {
  readonly count: number;
  readonly ms: number;
} {
  const times = failures.map(({ atMs }) => atMs);
  const ms = times.length === 0 ? 0 : Math.max(...times) - Math.min(...times);
  return { count: failures.length, ms: Math.round(ms) };
}
