// A proxy for any protocol over TCP: a connection made here waits for somebody to reach, and is one with the app from then on.
import { connect, createServer, type Server, type Socket } from 'node:net';
import { judgeAfter } from '../process/time-out.ts';
import type { Buffering } from './buffering.ts';
import type { Closing } from './closing.ts';
import type { OwnSockets } from './own-sockets.ts';
import { proxyHeader } from './proxy-protocol.ts';
import { refuse } from './refuse.ts';
import { relay } from './relay.ts';
import { connectWithinMs, type Target } from './target.ts';

export interface TcpOptions {
  readonly buffering: Buffering;
  readonly proxyProtocol: boolean;
  readonly drainMs: number;
  readonly own: OwnSockets;
  readonly warn: (message: string) => void;
  /** Called when the proxy closes: what owes no answer ends. */
  readonly closing: Closing;
}

/** Long silent connections are found dead by this, where the other end has gone without a word. */
const keepAliveMs = 30_000;

const socketOptions = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: keepAliveMs,
} as const;

export function tcpServer(options: TcpOptions): Server {
  return createServer({ ...socketOptions, pauseOnConnect: true }, (client) => {
    client.on('error', () => client.destroy());
    options.own.accepted(client, () => {
      options.warn('a connection to this proxy comes from itself: --advertise names the proxy');
      refuse(client);
    });
    if (!client.destroyed) new Passage(options, client).begin();
  });
}

/** One connection on its way to an app. */
class Passage {
  readonly #options: TcpOptions;
  readonly #client: Socket;
  readonly #until: number;

  constructor(options: TcpOptions, client: Socket) {
    this.#options = options;
    this.#client = client;
    this.#until = Date.now() + options.buffering.windowMs;
  }

  begin(): void {
    const target = this.#options.buffering.ready();
    if (target === null) this.#wait();
    else this.#connect(target);
  }

  #wait(): void {
    const client = this.#client;
    let leave = (): void => undefined;
    const gone = (): void => leave();
    client.once('close', gone);
    leave = this.#options.buffering.wait(Math.max(0, this.#until - Date.now()), (result) => {
      client.off('close', gone);
      if (typeof result === 'string') refuse(client);
      else this.#connect(result);
    });
  }

  #connect(target: Target): void {
    const client = this.#client;
    if (client.destroyed) return;
    const { host, port } = target.address;
    const app = connect({ ...socketOptions, host, port });
    const failed = (): void => {
      settle();
      app.destroy();
      target.unreachable();
      if (!client.destroyed) this.#wait();
    };
    const gone = (): void => {
      settle();
      app.destroy();
    };
    const cancel = judgeAfter(connectWithinMs, failed);
    const settle = (): void => {
      cancel();
      app.off('error', failed).on('error', () => undefined);
      client.off('close', gone);
    };
    app.once('error', failed);
    client.once('close', gone);
    app.once('connect', () => {
      settle();
      this.#options.own.made(app, () => {
        app.destroy();
        refuse(client);
      });
      if (!app.destroyed && !client.destroyed) this.#join(app, target);
    });
  }

  #join(app: Socket, target: Target): void {
    const { proxyProtocol, drainMs, buffering, closing } = this.#options;
    const client = this.#client;
    if (proxyProtocol) app.write(proxyHeader(client));
    relay({ client, app, target, drainMs, windowMs: buffering.windowMs, closing });
    client.resume();
  }
}
