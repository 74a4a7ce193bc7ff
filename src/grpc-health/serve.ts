// The health of this instance by gRPC (`grpc.health.v1`), on a listener of its own. Each answer is computed when it is asked
// for; there is no status that is kept, and so none that a process which stood still could answer from.
import {
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import { createServer, type Server as TcpServer, type Socket } from 'node:net';
import {
  createServer as createSecureServer,
  type SecureContextOptions,
  type Server as SecureServer,
  type TlsOptions,
} from 'node:tls';
import {
  healthService,
  servingStatus,
  type HealthHandlers,
  type HealthRequest,
  type ServingStatus,
} from './service.ts';
import { Watchers } from './watchers.ts';

export interface HealthOptions {
  /** Whether what is meant by that name is so at this moment; null for a name that means nothing. */
  readonly isServing: (service: string) => boolean | null;
  /** Calls back whenever an answer may be another; the returned function ends that. */
  readonly onChange: (changed: () => void) => () => void;
  /** Makes the server listen; rejects where it cannot. */
  readonly bind: (server: TcpServer) => Promise<readonly TcpServer[]>;
  /** Null for plain HTTP/2. */
  readonly tls: TlsOptions | null;
  readonly maxConnections: number;
  readonly reportError: (error: unknown) => void;
}

export interface HealthServing {
  readonly address: { readonly host: string; readonly port: number };
  /** Connections made from now on get these. */
  renew(tls: SecureContextOptions): void;
  /** Tells who watches that nothing is served any more, finishes what is in flight, and resolves once all is closed. */
  close(): Promise<void>;
}

/** One connection may hold all of them: a checker that watches each election of a sidecar. */
const watchersAtMost = 1024;
/** How long `close` waits for the answers in flight. */
const drainMs = 2_000;
const handshakeTimeoutMs = 10_000;

const limits = {
  'grpc.max_concurrent_streams': watchersAtMost,
  // A name is no longer than that of an election.
  'grpc.max_receive_message_length': 1024,
  'grpc.max_metadata_size': 8192,
  'grpc-node.max_session_memory': 1,
  // A client that is gone without a word, or that never asks, keeps no place.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.max_connection_idle_ms': 300_000,
  'grpc.enable_channelz': 0,
};

const tooMany = { code: status.RESOURCE_EXHAUSTED, details: 'too many watch already' };

function handlers(options: HealthOptions, watchers: Watchers): HealthHandlers {
  const statusOf = statusBy(options);
  return {
    check(
      call: ServerUnaryCall<HealthRequest, ServingStatus>,
      answer: sendUnaryData<ServingStatus>,
    ) {
      try {
        const found = statusOf(call.request.service);
        if (found !== servingStatus.SERVICE_UNKNOWN) answer(null, found);
        else answer({ code: status.NOT_FOUND, details: 'there is no such service' });
      } catch (error) {
        answer({ code: status.INTERNAL, details: 'an answer could not be given' });
        options.reportError(error);
      }
    },
    watch(call: Parameters<Watchers['open']>[0]) {
      if (!watchers.isFull()) watchers.open(call);
      else call.emit('error', tooMany);
    },
  };
}

const statusBy =
  ({ isServing }: Pick<HealthOptions, 'isServing'>) =>
  (service: string): ServingStatus => {
    const serves = isServing(service);
    if (serves === null) return servingStatus.SERVICE_UNKNOWN;
    return serves ? servingStatus.SERVING : servingStatus.NOT_SERVING;
  };

/** The connections of a server, down to those that have not shaken hands yet: what is left of them at the end is cut off. */
class Sockets {
  readonly #open = new Set<Socket>();

  constructor(server: TcpServer) {
    server.on('connection', (socket: Socket) => {
      this.#open.add(socket);
      socket.once('close', () => this.#open.delete(socket));
    });
  }

  cutOff(): void {
    for (const socket of this.#open) socket.destroy();
  }
}

function serverFor(options: HealthOptions, take: (socket: Socket) => void): TcpServer {
  const { tls, maxConnections } = options;
  const server: TcpServer =
    tls === null
      ? createServer({ noDelay: true }, take)
      : createSecureServer({
          ...tls,
          // By Node a client without it would get as far as to be refused by HTTP/2.
          ALPNProtocols: ['h2'],
          handshakeTimeout: handshakeTimeoutMs,
        }).on('secureConnection', take);
  server.maxConnections = maxConnections;
  return server;
}

/** Opens the listener. Rejects as `bind` does. */
export async function serveHealth(options: HealthOptions): Promise<HealthServing> {
  const { reportError, onChange } = options;
  const watching = { onChange, reportError, atMost: watchersAtMost, statusOf: statusBy(options) };
  const watchers = new Watchers(watching);
  const grpc = new Server(limits);
  grpc.addService(healthService, handlers(options, watchers));
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  let closing: Promise<void> | null = null;
  const server = serverFor(options, (socket) => {
    // Whoever goes away without a word is nobody's failure.
    socket.on('error', () => undefined);
    if (closing === null) injector.injectConnection(socket);
    else socket.destroy();
  });
  const sockets = new Sockets(server);
  const close = async (servers: readonly TcpServer[]): Promise<void> => {
    const closed = servers.map((one) => new Promise((resolve) => void one.close(resolve)));
    watchers.close();
    await new Promise((resolve) => {
      setTimeout(resolve, drainMs).unref();
      grpc.tryShutdown(resolve);
    });
    grpc.forceShutdown();
    sockets.cutOff();
    await Promise.all(closed);
  };
  const servers = await options.bind(server).catch(async (failure: unknown) => {
    await close([]);
    throw failure;
  });
  // A failing accept (no file descriptors left) costs that connection, not the process.
  for (const one of servers) one.on('error', reportError);
  const { address: host = '', port = 0 } = server.address() as { address?: string; port?: number };
  return {
    address: { host, port },
    renew: (renewed) => {
      if ('setSecureContext' in server) (server as SecureServer).setSecureContext(renewed);
    },
    close: () => (closing ??= close(servers)),
  };
}
