// A TCP relay that a test puts between two programs to break their connection: a black hole in one or
// both directions, resets, a closed port, delay. Cut connections stay open and lose nothing: what was
// sent meanwhile arrives after the healing, as TCP's repetitions would bring it. It does not drop or
// reorder single packets.
import { createServer, connect } from 'node:net';
import type { Server, Socket } from 'node:net';
import { reservePort } from './ports.ts';

/** `up` is from the client to the target, `down` the other way. */
export type RelayDirection = 'up' | 'down';

/** Where to forward to. */
export interface RelayOptions {
  /** A URL or `host:port`. */
  readonly target: string;
  /** Held back for this long in each direction; 0 by default. */
  readonly delayMs?: number;
}

/** A running relay; all its methods take effect at once, on old and new connections. */
export interface Relay {
  readonly host: string;
  readonly port: number;
  /** `host:port`, or the target's URL with our host and port when the target is a URL. */
  readonly url: string;
  /** May be changed at any time; what is under way keeps its own delay. */
  delayMs: number;
  /** How many client connections are open. */
  readonly connections: number;
  /** Forwards nothing either way; open connections stay open, new ones are accepted and silent. */
  cut(): void;
  /** Forwards nothing in one direction. */
  cutOneWay(direction: RelayDirection): void;
  /** Resets every open connection on both sides; new ones work. */
  reset(): void;
  /** Closes the port, so that new connections are refused; open ones go on (see `reset`). */
  refuse(): void;
  /** Undoes `cut`, `cutOneWay` and `refuse`. */
  heal(): Promise<void>;
  /** Ends everything. */
  stop(): void;
}

/** What waits in one direction before reading stops; more would only hide back pressure. */
const mostQueuedBytes = 1024 * 1024;

/** Faults that the relay has now. */
interface Faults {
  readonly cut: Set<RelayDirection>;
  delayMs: number;
}

/** One direction of one connection: a queue of chunks with the time each is due. */
class Flow {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #direction: RelayDirection;
  readonly #faults: Faults;
  readonly #queue: { readonly chunk: Buffer | null; readonly dueAt: number }[] = [];
  #queuedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #blocked = false;

  constructor(from: Socket, to: Socket, direction: RelayDirection, faults: Faults) {
    this.#from = from;
    this.#to = to;
    this.#direction = direction;
    this.#faults = faults;
    from.on('data', (chunk: Buffer) => this.#take(chunk));
    from.on('end', () => this.#take(null));
    to.on('drain', () => {
      this.#blocked = false;
      this.pump();
    });
  }

  /** Forwards what is due and may be forwarded; called again whenever that may have changed. */
  pump(): void {
    clearTimeout(this.#timer);
    const isCut = this.#faults.cut.has(this.#direction);
    while (!isCut && !this.#blocked) {
      const head = this.#queue[0];
      if (head === undefined) break;
      const waitMs = head.dueAt - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.pump(), waitMs);
        break;
      }
      this.#queue.shift();
      this.#queuedBytes -= head.chunk?.length ?? 0;
      if (head.chunk === null) this.#to.end();
      else if (!this.#to.destroyed) this.#blocked = !this.#to.write(head.chunk);
    }
    if (isCut || this.#blocked || this.#queuedBytes > mostQueuedBytes) this.#from.pause();
    else this.#from.resume();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #take(chunk: Buffer | null): void {
    this.#queue.push({ chunk, dueAt: performance.now() + this.#faults.delayMs });
    this.#queuedBytes += chunk?.length ?? 0;
    this.pump();
  }
}

/** One client connection and its counterpart to the target. */
class Link {
  readonly #client: Socket;
  readonly #target: Socket;
  readonly #flows: readonly Flow[];

  constructor(client: Socket, target: Socket, faults: Faults, onEnd: () => void) {
    this.#client = client;
    this.#target = target;
    const flows = [
      new Flow(client, target, 'up', faults),
      new Flow(target, client, 'down', faults),
    ];
    this.#flows = flows;
    // A cut hides the end of one side from the other, as a lost FIN or RST would.
    const sides = [
      { own: client, other: target, direction: 'up' },
      { own: target, other: client, direction: 'down' },
    ] as const;
    for (const { own, other, direction } of sides) {
      own.setNoDelay(true);
      own.on('error', () => {
        if (!faults.cut.has(direction)) other.resetAndDestroy();
      });
      own.on('close', () => {
        if (client.destroyed && target.destroyed) {
          for (const flow of flows) flow.close();
          onEnd();
        }
      });
    }
    this.pump();
  }

  pump(): void {
    // A side that broke while the connection was cut is found out now.
    const broken = this.#client.destroyed !== this.#target.destroyed;
    if (broken && (this.#client.errored ?? this.#target.errored) !== null) this.reset();
    for (const flow of this.#flows) flow.pump();
  }

  reset(): void {
    for (const socket of [this.#client, this.#target]) {
      if (!socket.destroyed) socket.resetAndDestroy();
    }
  }
}

function parseTarget(target: string): { host: string; port: number; isUrl: boolean } {
  const isUrl = target.includes('://');
  const url = new URL(isUrl ? target : `tcp://${target}`);
  return { host: url.hostname, port: Number(url.port), isUrl };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** The relay's state; `startRelay` gives it a port. */
class TcpRelay implements Relay {
  readonly host = '127.0.0.1';
  readonly port: number;
  readonly url: string;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #faults: Faults;
  readonly #links = new Set<Link>();
  /** Accepted while cut: connected to the target only once healed. */
  readonly #waiting = new Set<Socket>();
  #server: Server | null = null;

  constructor(port: number, options: RelayOptions) {
    const { host, port: targetPort, isUrl } = parseTarget(options.target);
    this.port = port;
    this.#target = { host, port: targetPort };
    this.#faults = { cut: new Set(), delayMs: options.delayMs ?? 0 };
    const scheme = isUrl ? `${new URL(options.target).protocol}//` : '';
    this.url = `${scheme}127.0.0.1:${port}`;
  }

  get delayMs(): number {
    return this.#faults.delayMs;
  }

  set delayMs(delayMs: number) {
    this.#faults.delayMs = delayMs;
  }

  get connections(): number {
    return this.#links.size + this.#waiting.size;
  }

  cut(): void {
    this.#faults.cut.add('up').add('down');
    this.#pumpAll();
  }

  cutOneWay(direction: RelayDirection): void {
    this.#faults.cut.add(direction);
    this.#pumpAll();
  }

  reset(): void {
    for (const link of this.#links) link.reset();
    for (const socket of this.#waiting) socket.resetAndDestroy();
  }

  refuse(): void {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    // close() stops listening at once; its callback would wait for the open connections.
    server.close();
  }

  async heal(): Promise<void> {
    this.#faults.cut.clear();
    for (const socket of this.#waiting) this.#connect(socket);
    this.#waiting.clear();
    this.#pumpAll();
    if (this.#server === null) await this.open();
  }

  stop(): void {
    this.refuse();
    this.reset();
  }

  async open(): Promise<void> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
      client.on('error', () => undefined);
      if (this.#faults.cut.size < 2) {
        this.#connect(client);
        return;
      }
      this.#waiting.add(client);
      client.on('close', () => this.#waiting.delete(client));
    });
    await listen(server, this.port);
    this.#server = server;
  }

  #connect(client: Socket): void {
    const target = connect({ ...this.#target, allowHalfOpen: true });
    const link = new Link(client, target, this.#faults, () => this.#links.delete(link));
    this.#links.add(link);
  }

  #pumpAll(): void {
    for (const link of this.#links) link.pump();
  }
}

/** Starts a relay on a free port of 127.0.0.1. */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  for (let attempt = 1; ; attempt += 1) {
    const relay = new TcpRelay(await reservePort(), options);
    try {
      await relay.open();
      return relay;
    } catch (error) {
      if (attempt >= 5) throw error;
    }
  }
}
