// A listening socket for an application: TCP or unix, with a bound on everything a client can hold, and an end
// that finishes the answers in flight; TLS where it is configured. It knows connections and requests, not what is
// answered.
import { lstat, rm } from 'node:fs/promises';
import { createServer, STATUS_CODES, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import { createSecureContext } from 'node:tls';
import {
  connect,
  createServer as createTcpServer,
  type Server as TcpServer,
  type Socket,
} from 'node:net';
import { bind, cannot, CannotListen, type ListenAddress } from '../process/bind.ts';
import { unreadableAnswer, type Application } from './sending.ts';
import { Connections } from './connections.ts';

/** HTTPS: PEM texts. Certificates of clients are asked for, or demanded in the handshake, and must be signed by `clientCa`. */
export interface ServerTls {
  readonly certificate: string;
  readonly key: string;
  readonly clientCa: string | null;
  /** By default required where there is a `clientCa`. */
  readonly clientAuth?: 'none' | 'request' | 'require';
}

export interface Limits {
  /** How long the header of a request may take to arrive, and a whole request. */
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** How often these two are looked at. */
  readonly checkEveryMs: number;
  /** Longer than the check interval of any load balancer, so that it is never the server that closes first. */
  readonly keepAliveTimeoutMs: number;
  /** How long a connection may wait for its client, be it to ask or to read: one that does neither is dropped. */
  readonly stallTimeoutMs: number;
  /** Node's own default: browsers send the cookies of every program on the same host. */
  readonly maxHeaderBytes: number;
  readonly maxConnections: number;
  /** How long `close` waits for the answers in flight. */
  readonly drainMs: number;
}

export const standardLimits: Limits = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  checkEveryMs: 5_000,
  keepAliveTimeoutMs: 75_000,
  stallTimeoutMs: 60_000,
  maxHeaderBytes: 16_384,
  maxConnections: 8192,
  drainMs: 2_000,
};

export interface Listening {
  /** Where it listens, with the port that was found. */
  readonly address: ListenAddress;
  /** What the log says of it at the start; absent where nobody has to be told. */
  readonly says?: string;
  /** Connections made from now on get these certificates; throws if they are unusable. For TLS listeners only. */
  renew(tls: ServerTls): void;
  /** Stops accepting, finishes the answers in flight within `drainMs`, and resolves once all is closed. */
  close(): Promise<void>;
}

/** Nobody answers a connection on this machine slower, unless it is stuck: then it is alive all the same. */
const answersWithinMs = 1000;

/** True if a process accepts connections on the unix socket `path`. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const found = (answered: boolean): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(answersWithinMs, () => found(true));
    socket.once('connect', () => found(true));
    // Anything but a plain refusal leaves it in doubt whether somebody is there: then the file stays.
    socket.once('error', (error: NodeJS.ErrnoException) =>
      found(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    );
  });
}

/** Removes the socket file that a killed process left behind; anything else in the way is left alone. */
async function removeStale(path: string): Promise<void> {
  const there = await lstat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw cannot(`cannot look at unix:${path}`, error);
  });
  if (there === null) return;
  if (!there.isSocket()) throw new CannotListen(`${path} exists and is not a socket`, false);
  if (await isAnswered(path))
    throw new CannotListen(`another process answers on unix:${path}`, true);
  await rm(path, { force: true });
}

/** What a machine without IPv6 answers to a listener on `::1`. */
const withoutIpv6 = ['EADDRNOTAVAIL', 'EAFNOSUPPORT'];

/**
 * The other half of a listener on `localhost`, which is 127.0.0.1 for some clients and ::1 for others: hands its
 * connections to `server`. Null on a machine without IPv6.
 */
async function bindBeside(server: TcpServer, port: number): Promise<TcpServer | null> {
  const beside = createTcpServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    server.emit('connection', socket),
  );
  beside.maxConnections = server.maxConnections;
  try {
    await bind(beside, { host: '::1', port });
    return beside;
  } catch (failure) {
    const { code } = (failure as CannotListen).cause as NodeJS.ErrnoException;
    if (withoutIpv6.includes(code ?? '')) return null;
    throw failure;
  }
}

function statusOf(error: NodeJS.ErrnoException): 400 | 408 | 431 {
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return 408;
  return error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400;
}

/** TLS 1.2 is the oldest that is not known to be broken; Node has decided so too, but a flag can undo that. */
export const secureOptions = ({ certificate, key, clientCa }: ServerTls) => ({
  cert: certificate,
  key,
  minVersion: 'TLSv1.2' as const,
  ...(clientCa === null ? {} : { ca: clientCa }),
});

/** The same, and whether clients need a certificate: what a server is made with. */
export const serverOptions = (tls: ServerTls) => {
  const { clientAuth = tls.clientCa === null ? 'none' : 'require' } = tls;
  return {
    ...secureOptions(tls),
    requestCert: clientAuth !== 'none',
    rejectUnauthorized: clientAuth === 'require',
  };
};

/** Throws where a listener could not use these. */
export function checkTls(tls: ServerTls | null): void {
  if (tls !== null) createSecureContext(secureOptions(tls));
}

function bareServer(limits: Limits, tls: ServerTls | null): Server | SecureServer {
  const options = {
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: limits.checkEveryMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    maxHeaderSize: limits.maxHeaderBytes,
    // A health check may be HTTP/1.1 without a Host; and a refusal by Node would lack our headers.
    requireHostHeader: false,
    noDelay: true,
  };
  if (tls === null) return createServer(options);
  return createSecureServer({
    ...options,
    ...serverOptions(tls),
    handshakeTimeout: limits.headersTimeoutMs,
  });
}

function serverFor(
  application: Application,
  limits: Limits,
  connections: Connections,
  tls: ServerTls | null,
): Server | SecureServer {
  const server = bareServer(limits, tls);
  // Node's own, called by close(), takes an answer for finished once it was handed over, and cuts off what the
  // client has not read of it yet. Connections ends the idle ones instead.
  server.closeIdleConnections = () => undefined;
  server.timeout = limits.stallTimeoutMs;
  server.on('timeout', (socket: Socket) => {
    // A verb takes as long as its hand-over does: it is not the client that lies still.
    if (connections.isAwaited(socket)) socket.setTimeout(limits.stallTimeoutMs);
    else socket.destroy();
  });
  server.maxConnections = limits.maxConnections;
  const handle = (_request: ServerResponse['req'], response: ServerResponse): void =>
    connections.asked(response);
  // With TLS the connection beneath closes with the one above; until there is one, it shakes hands.
  if (tls === null) server.on('connection', (socket: Socket) => connections.opened(socket));
  else {
    server.on('connection', (socket: Socket) => connections.shakesHands(socket));
    server.on('secureConnection', (socket: Socket) => connections.opened(socket));
  }
  server.on('request', handle);
  server.on('checkExpectation', handle);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // An answer that is half out cannot be followed by another one.
    if (error.code === 'ECONNRESET' || !socket.writable || connections.isBusy(socket)) {
      socket.destroy();
      return;
    }
    const status = statusOf(error);
    socket.end(unreadableAnswer(status, STATUS_CODES[status] ?? '', application), () =>
      socket.destroy(),
    );
  });
  return server;
}

const ended = (server: TcpServer): Promise<void> =>
  new Promise((resolve) => void server.close(() => resolve()));

async function closing(
  servers: readonly TcpServer[],
  application: Application,
  connections: Connections,
  drainMs: number,
): Promise<void> {
  const bound = setTimeout(() => connections.cutOff(), drainMs);
  const all = Promise.all(servers.map(ended));
  application.drain();
  connections.close();
  await all;
  clearTimeout(bound);
}

/** Listens, in both families for `localhost`; gives all that was opened for it. @throws CannotListen */
export async function bindAll(
  server: TcpServer,
  address: ListenAddress,
): Promise<readonly TcpServer[]> {
  if ('path' in address || address.host !== 'localhost') {
    await bind(server, address);
    return [server];
  }
  await bind(server, { host: '127.0.0.1', port: address.port });
  try {
    const bound = server.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
    const beside = await bindBeside(server, port);
    return beside === null ? [server] : [server, beside];
  } catch (failure) {
    await ended(server);
    throw failure;
  }
}

/**
 * Serves `application` at `address`; `localhost` is this machine in both families. A unix socket gets mode 0660; a socket file that nobody answers on is
 * replaced. `tls` is for TCP only: whoever may open a unix socket is on this machine.
 *
 * @throws CannotListen if the address is taken or not to be had.
 */
export async function listen(
  application: Application,
  address: ListenAddress,
  limits: Partial<Limits> = {},
  tls: ServerTls | null = null,
): Promise<Listening> {
  const all = { ...standardLimits, ...limits };
  if ('path' in address) await removeStale(address.path);
  const connections = new Connections((response) => application.handle(response.req, response));
  const secure = 'path' in address ? null : tls;
  const server = serverFor(application, all, connections, secure);
  const servers = await bindAll(server, address);
  for (const one of servers) {
    // A failing accept (no file descriptors left) costs that connection, not the process.
    one.on('error', (error) => application.reportError(error));
  }
  const bound = server.address();
  let closed: Promise<void> | null = null;
  return {
    address:
      typeof bound === 'object' && bound !== null && !('path' in address)
        ? { host: address.host, port: bound.port }
        : address,
    renew: (renewed) => {
      if ('setSecureContext' in server) server.setSecureContext(secureOptions(renewed));
    },
    close: () => (closed ??= closing(servers, application, connections, all.drainMs)),
  };
}
