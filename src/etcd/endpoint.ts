// One etcd endpoint, and the connection to it while there is one. A connection that only fails is thrown away and made
// anew: its sockets may wait for a dead peer far longer than the fault lasts.
import {
  InterceptingCall,
  ListenerBuilder,
  status,
  type CallOptions,
  type Interceptor,
  type Listener,
} from '@grpc/grpc-js';
import { Etcd3, type IOptions } from 'etcd3';
import type { Millis } from '../core/model.ts';
import { Unreachable } from '../errors.ts';
import { passThrough } from '../policies.ts';
import type { Clock } from '../ports.ts';
import { judgeAfter } from '../process/time-out.ts';
import { withSharedName } from './names.ts';

/** TLS material as PEM; asked for anew with every connection, so that rotated certificates take effect. */
export interface TlsMaterial {
  readonly ca: Buffer | null;
  readonly certificate: Buffer | null;
  readonly key: Buffer | null;
}

export interface EndpointOptions {
  /** `http://host:port` or `https://host:port`. */
  readonly url: string;
  readonly tls: () => TlsMaterial;
  /** The token to send with every request, null where there is none. */
  readonly token: () => string | null;
  readonly clock: Clock;
  readonly discardAfterMs: number;
}

interface Cancellable {
  cancel(): void;
}

/** A stream of a connection. */
export interface Opened<Stream> {
  readonly stream: Stream;
  /** The stream has ended: there is nothing left to cancel. */
  readonly forget: () => void;
}

/** One client of etcd3 and what is open on it; `end` undoes all of it, once. */
interface Connection {
  readonly client: Etcd3;
  readonly open: <Stream extends Cancellable>(
    begin: (client: Etcd3) => Promise<Stream>,
  ) => Promise<Opened<Stream>>;
  readonly end: () => void;
}

type State =
  /** The next request connects. */
  | { readonly kind: 'idle' }
  | { readonly kind: 'connected'; readonly connection: Connection }
  /** Nothing was heard of the peer since then. */
  | { readonly kind: 'failing'; readonly connection: Connection; readonly since: Millis }
  | { readonly kind: 'closed' };

const channelOptions = {
  // A member that is back is dialled within half a second; grpc-js would wait for up to two minutes.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  // etcd sends GOAWAY to clients that ping more often than every 5 s; time limits find a silent peer before that.
  'grpc.keepalive_time_ms': 5000,
  // Well below the five seconds between two pings, and long after any healthy answer. grpc-js judges this one itself: a
  // stall of two seconds that begins while a ping is under way, as it is for a millisecond in five seconds, reconnects.
  'grpc.keepalive_timeout_ms': 2000,
  // What stands in a TXT record of the name is no business of ours: it could tell how to balance, retry and time out.
  'grpc.service_config_disable_resolution': 1,
  // etcd is never behind the proxy that the environment of an app names for its own requests.
  'grpc.enable_http_proxy': 0,
};

/**
 * grpc-js keeps one pool of connections for the process and hands those of one client to the next where all options are
 * equal, dead ones too. A name with a generation in it keeps the clients apart.
 */
let generations = 0;

export class Endpoint {
  readonly url: string;
  readonly #options: EndpointOptions;
  readonly #interceptor: Interceptor;
  #state: State = { kind: 'idle' };

  constructor(options: EndpointOptions) {
    this.url = options.url;
    this.#options = options;
    this.#interceptor = withMetadata(options.token);
  }

  /** The present client; connects with its first request. Throws Unreachable once closed. */
  client(): Etcd3 {
    return this.#connection().client;
  }

  /** Options for a request that ends within `limitMs`, whatever the peer does. */
  within(limitMs: number): CallOptions {
    // Those of a call replace those of its client.
    return { interceptors: [this.#interceptor, endingWithin(limitMs)] };
  }

  /** Opens a stream, which is cancelled if the connection is thrown away, be it while the stream is being opened. */
  async open<Stream extends Cancellable>(
    begin: (client: Etcd3) => Promise<Stream>,
  ): Promise<Opened<Stream>> {
    return this.#connection().open(begin);
  }

  /** The peer answered, be it with an error. */
  answered(): void {
    if (this.#state.kind !== 'failing') return;
    this.#state = { kind: 'connected', connection: this.#state.connection };
  }

  /** The peer did not answer; after a while of nothing else the connection is thrown away. */
  failed(): void {
    const { clock, discardAfterMs } = this.#options;
    const now = clock.now();
    if (this.#state.kind === 'connected') {
      this.#state = { kind: 'failing', connection: this.#state.connection, since: now };
    } else if (this.#state.kind === 'failing' && now - this.#state.since >= discardAfterMs) {
      this.discard();
    }
  }

  /** Drops the connection and everything open on it; the next request makes a new one. */
  discard(): void {
    if (this.#state.kind !== 'closed') this.#enter({ kind: 'idle' });
  }

  /** Drops the connection for good. */
  close(): void {
    this.#enter({ kind: 'closed' });
  }

  #connection(): Connection {
    if (this.#state.kind === 'closed') {
      throw new Unreachable(`the connection to ${this.url} is closed`);
    }
    if (this.#state.kind === 'idle') {
      this.#state = { kind: 'connected', connection: connect(this.#options, this.#interceptor) };
    }
    return this.#state.connection;
  }

  /** Leaves the present state and undoes what it had set up. */
  #enter(state: Extract<State, { kind: 'idle' | 'closed' }>): void {
    const left = this.#state;
    this.#state = state;
    if ('connection' in left) left.connection.end();
  }
}

function connect({ url, tls }: EndpointOptions, interceptor: Interceptor): Connection {
  const client = new Etcd3(clientOptions(url, tls(), interceptor));
  const streams = new Set<Cancellable>();
  let ended = false;
  return {
    client,
    open: async (begin) => {
      const stream = await begin(client);
      if (ended) stream.cancel();
      else streams.add(stream);
      return { stream, forget: () => void streams.delete(stream) };
    },
    end: () => {
      ended = true;
      // Streams first: a client of etcd3 that is closed with open streams leaks their descriptors.
      for (const stream of streams) stream.cancel();
      streams.clear();
      client.close();
    },
  };
}

function clientOptions(
  url: string,
  { ca, certificate, key }: TlsMaterial,
  interceptor: Interceptor,
): IOptions {
  generations += 1;
  const custom = ca !== null || certificate !== null;
  const credentials = {
    ...(ca === null ? {} : { rootCertificate: ca }),
    ...(key === null ? {} : { privateKey: key }),
    ...(certificate === null ? {} : { certChain: certificate }),
  };
  return {
    hosts: withSharedName(url),
    // Without a CA of its own the system's roots are used; etcd3's type asks for one nevertheless.
    ...(custom ? { credentials: credentials as NonNullable<IOptions['credentials']> } : {}),
    faultHandling: { host: () => passThrough, global: passThrough },
    grpcOptions: {
      ...channelOptions,
      'grpc.primary_user_agent': `electord/${String(generations)}`,
      interceptors: [interceptor],
    },
  };
}

/** `hasleader` makes etcd end a stream of a member that has lost its quorum, instead of leaving it silent. */
const withMetadata =
  (token: () => string | null): Interceptor =>
  (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, _listener, next) {
        metadata.set('hasleader', 'true');
        const present = token();
        if (present !== null) metadata.set('token', present);
        next(metadata, tellStaleTokens);
      },
    });

/**
 * etcd3 recognises a refused token by these words and sends the request again, with the same token, as fast as it can
 * until the deadline. In other words the refusal reaches us, who can log in anew.
 */
const tellStaleTokens: Listener = new ListenerBuilder()
  .withOnReceiveStatus((received, next) => {
    const details = received.details.replace('invalid auth token', 'invalid authentication token');
    next({ ...received, details });
  })
  .build();

/**
 * The deadline of a call, judged here. grpc-js judges its own `deadline` in the timer itself: after a stall of the
 * process that is longer, it ends every call under way as unanswered, though the answers have arrived, and it counts
 * on the wall clock. etcd is told the limit all the same, and ends its work by then.
 */
const endingWithin =
  (limitMs: number): Interceptor =>
  (options, nextCall) => {
    const call = new InterceptingCall(nextCall(options), {
      start(metadata, _listener, next) {
        const cancel = judgeAfter(limitMs, () => {
          const details = `no answer within ${String(limitMs)} ms`;
          call.cancelWithStatus(status.DEADLINE_EXCEEDED, details);
        });
        metadata.set('grpc-timeout', `${String(Math.ceil(limitMs))}m`);
        const ended = new ListenerBuilder().withOnReceiveStatus((received, forward) => {
          cancel();
          forward(received);
        });
        next(metadata, ended.build());
      },
    });
    return call;
  };
