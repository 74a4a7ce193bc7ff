// A proxy for HTTP/1.1: each request goes to whoever may be reached at that moment, on connections to the apps that are
// kept. One that never reached an app, or is safe to repeat, goes to the next where there is another leader.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import Pool from 'undici/lib/dispatcher/pool.js';
import { tlsTowards } from '../process/ask-tls.ts';
import { Exchange } from './exchange.ts';
import { connectWithinMs, type Target } from './target.ts';
import { upgrade, type HttpOptions } from './upgrade.ts';

/** Longer than the interval at which a load balancer asks: it is never the server that closes first. */
const keepAliveTimeoutMs = 75_000;
const headersTimeoutMs = 10_000;
/** What other proxies and browsers send at most, with room. */
const maxHeaderBytes = 65_536;
/** Shorter than Node's servers keep a silent connection, and most others. */
const idleMs = 4000;

/** The connections to apps: one pool for each target, which ends with it. */
export class Pools {
  readonly #options: HttpOptions;
  readonly #pools = new Map<Target, Pool>();

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  of(target: Target): Pool {
    const known = this.#pools.get(target);
    if (known !== undefined) return known;
    this.#sweep();
    const { host, port, secure } = target.address;
    const name = host.includes(':') ? `[${host}]` : host;
    const pool = new Pool(`${secure ? 'https' : 'http'}://${name}:${port}`, {
      headersTimeout: this.#options.responseTimeoutMs,
      // A stream may be silent for as long as it likes; where its leader is gone it ends.
      bodyTimeout: 0,
      keepAliveTimeout: idleMs,
      maxHeaderSize: maxHeaderBytes,
      connect: {
        timeout: connectWithinMs,
        ...(secure ? tlsTowards(host, this.#options.tls()) : {}),
      },
    });
    this.#pools.set(target, pool);
    target.onOver(() => this.#drain(target, pool));
    return pool;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.destroy()));
  }

  /** Followers come and go without a word; a pool that has nothing open can be made again. */
  #sweep(): void {
    for (const [target, pool] of this.#pools) {
      const { connected, pending, running } = pool.stats;
      if (connected + pending + running > 0) continue;
      this.#pools.delete(target);
      void pool.destroy();
    }
  }

  /** What is under way goes on for a while. */
  #drain(target: Target, pool: Pool): void {
    this.#pools.delete(target);
    const bound = setTimeout(() => void pool.destroy(), this.#options.drainMs);
    void pool.close().finally(() => clearTimeout(bound));
  }
}

export interface HttpProxy {
  readonly server: Server;
  /** Ends the connections to apps, with whatever is under way on them. */
  close(): Promise<void>;
}

export function httpProxy(options: HttpOptions): HttpProxy {
  const pools = new Pools(options);
  const server = createServer({
    keepAliveTimeout: keepAliveTimeoutMs,
    headersTimeout: headersTimeoutMs,
    // An upload takes as long as it takes.
    requestTimeout: 0,
    maxHeaderSize: maxHeaderBytes,
    noDelay: true,
  });
  const handle = (request: IncomingMessage, response: ServerResponse): void =>
    new Exchange({ ...options, pools, server }, request, response).begin();
  server.on('request', handle);
  server.on('checkContinue', handle);
  server.on('upgrade', (request: IncomingMessage, client: Duplex, head: Buffer) => {
    if (client instanceof Socket) upgrade(options, request, client, head);
  });
  return { server, close: () => pools.close() };
}
