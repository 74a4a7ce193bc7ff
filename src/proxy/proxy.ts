// The proxies of a sidecar: listeners whose connections reach the apps beside the members of an election. Loaded only where
// one is configured; the rest of the program knows them by this file.
import type { Server, Socket } from 'node:net';
import type { ElectionName } from '../core/model.ts';
import type { Clock, Elections, ProxyFigures } from '../ports.ts';
import type { AskTls } from '../process/ask-tls.ts';
import { bind } from '../process/bind.ts';
import { Buffering } from './buffering.ts';
import { Closing } from './closing.ts';
import { FollowersDestination } from './followers.ts';
import { httpProxy } from './http.ts';
import { LeaderDestination, type LeaderOptions } from './leader.ts';
import { OwnSockets } from './own-sockets.ts';
import { tcpServer } from './tcp.ts';

export interface ProxyOptions {
  readonly protocol: 'tcp' | 'http';
  readonly listen: { readonly host: string; readonly port: number };
  readonly to: 'leader' | 'followers';
  readonly election: ElectionName;
  readonly proxyProtocol: boolean;
}

export interface ProxiesOptions {
  readonly proxies: readonly ProxyOptions[];
  /** At each of them: who comes then is not let in. */
  readonly maxConnections: number;
  readonly bufferWindowMs: number;
  readonly bufferSize: number;
  readonly drainMs: number;
  /** 0: no bound. */
  readonly responseTimeoutMs: number;
  readonly elections: Elections;
  readonly clock: Pick<Clock, 'now'>;
  readonly ask: LeaderOptions['ask'];
  readonly tls: () => AskTls;
  readonly warn: (message: string) => void;
}

export interface Proxies {
  /** Of each, in the order in which they were given. */
  figures(): readonly ProxyFigures[];
  /** Accepts nothing more, and resolves once what was under way has ended, within the drain. */
  close(): Promise<void>;
}

interface Open {
  readonly name: string;
  readonly server: Server;
  readonly buffering: Buffering;
  readonly sockets: Set<Socket>;
  readonly closing: Closing;
  readonly endApps: () => Promise<void>;
}

/** Opens all, or none: rejects with CannotListen. */
export async function openProxies(options: ProxiesOptions): Promise<Proxies> {
  const own = new OwnSockets();
  const opened: Open[] = [];
  const close = (drainMs: number): Promise<unknown> =>
    Promise.all(opened.map((one) => closeOne(one, drainMs)));
  try {
    for (const proxy of options.proxies) opened.push(await open(proxy, options, own));
  } catch (failure) {
    await close(0);
    throw failure;
  }
  return {
    figures: () =>
      opened.map(({ name, sockets, buffering: { waiting, ended } }) => ({
        ...{ name, waiting, ended },
        open: sockets.size,
      })),
    close: async () => {
      await close(options.drainMs);
    },
  };
}

async function open(proxy: ProxyOptions, options: ProxiesOptions, own: OwnSockets): Promise<Open> {
  const { protocol, listen, to, election, proxyProtocol } = proxy;
  const { elections, clock, ask, warn, drainMs, responseTimeoutMs, tls } = options;
  const destination =
    to === 'leader'
      ? new LeaderDestination({ election, elections, clock, ask, warn })
      : new FollowersDestination({ election, elections, clock });
  const { bufferSize: size, bufferWindowMs: windowMs } = options;
  const buffering = new Buffering({ destination, size, windowMs });
  const closing = new Closing();
  const http =
    protocol === 'http' ? httpProxy({ buffering, drainMs, responseTimeoutMs, tls, closing }) : null;
  const server =
    http?.server ?? tcpServer({ buffering, proxyProtocol, drainMs, own, warn, closing });
  server.maxConnections = options.maxConnections;
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await bind(server, listen);
  const name = `${protocol}://${listen.host}:${listen.port}=${to}`;
  return { name, server, buffering, sockets, closing, endApps: async () => http?.close() };
}

async function closeOne(
  { server, buffering, sockets, closing, endApps }: Open,
  drainMs: number,
): Promise<void> {
  buffering.close();
  closing.close();
  const ended = new Promise<void>((resolve) => void server.close(() => resolve()));
  const bound = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, drainMs);
  await ended;
  clearTimeout(bound);
  await endApps();
}
