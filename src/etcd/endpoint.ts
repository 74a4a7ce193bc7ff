// One etcd endpoint and its client. A client that only fails is thrown away and replaced: its sockets may wait for a
// dead peer far longer than the fault lasts. Streams are cancelled before their client is closed, because closing
// one with open streams leaks them.
import {
  InterceptingCall,
  ListenerBuilder,
  type CallOptions,
  type Interceptor,
  type Listener,
} from '@grpc/grpc-js';
import { Etcd3, type IOptions } from 'etcd3';
import { Unreachable } from '../errors.ts';
import { passThrough } from '../policies.ts';
import type { Clock } from '../ports.ts';

/** TLS material as PEM; asked for anew with every client, so that rotated certificates take effect. */
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

/** How soon grpc-js dials again: a member that is back is found within half a second. */
const channelOptions = {
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  // etcd sends GOAWAY to clients that ping more often than every 5 s; deadlines find a silent peer before that.
  'grpc.keepalive_time_ms': 5000,
  'grpc.keepalive_timeout_ms': 2000,
  'grpc.enable_http_proxy': 0,
};

/** grpc-js hands the sockets of one client to the next where all options are equal; a generation keeps them apart. */
let generations = 0;

export class Endpoint {
  readonly url: string;
  readonly #options: EndpointOptions;
  readonly #streams = new Set<Cancellable>();
  #client: Etcd3 | null = null;
  #failures = 0;
  #failingSince: number | null = null;
  #closed = false;

  constructor(options: EndpointOptions) {
    this.url = options.url;
    this.#options = options;
  }

  /** The present client; connects with its first request. Throws Unreachable once closed. */
  client(): Etcd3 {
    if (this.#closed) throw new Unreachable(`the connection to ${this.url} is closed`);
    this.#client ??= new Etcd3(this.#clientOptions());
    return this.#client;
  }

  /** Options for a request that ends within `limitMs`, whatever the peer does. */
  within(limitMs: number): CallOptions {
    return { deadline: new Date(Date.now() + limitMs) };
  }

  /** Registers a stream, to be cancelled if its client is thrown away; the returned function forgets it. */
  opened(stream: Cancellable): () => void {
    if (this.#closed) stream.cancel();
    this.#streams.add(stream);
    return () => {
      this.#streams.delete(stream);
    };
  }

  /** The peer answered, be it with an error. */
  answered(): void {
    this.#failures = 0;
    this.#failingSince = null;
  }

  /** The peer did not answer; after a while of nothing else the client is thrown away. */
  failed(): void {
    const now = this.#options.clock.now();
    this.#failures += 1;
    this.#failingSince ??= now;
    if (this.#failures > 1 && now - this.#failingSince >= this.#options.discardAfterMs) {
      this.discard();
    }
  }

  /** Drops the client and everything open on it; the next request makes a new one. */
  discard(): void {
    for (const stream of this.#streams) stream.cancel();
    this.#streams.clear();
    this.#client?.close();
    this.#client = null;
    this.#failures = 0;
    this.#failingSince = null;
  }

  /** Drops everything for good: what is still being opened is cancelled as soon as it is open. */
  close(): void {
    this.#closed = true;
    this.discard();
  }

  #clientOptions(): IOptions {
    generations += 1;
    const { url, tls } = this.#options;
    const { ca, certificate, key } = tls();
    const custom = ca !== null || certificate !== null;
    const credentials = {
      ...(ca === null ? {} : { rootCertificate: ca }),
      ...(key === null ? {} : { privateKey: key }),
      ...(certificate === null ? {} : { certChain: certificate }),
    };
    return {
      hosts: url,
      // Without a CA of its own the system's roots are used; etcd3's type asks for one nevertheless.
      ...(custom ? { credentials: credentials as NonNullable<IOptions['credentials']> } : {}),
      faultHandling: { host: () => passThrough, global: passThrough },
      grpcOptions: {
        ...channelOptions,
        'grpc.primary_user_agent': `electord/${String(generations)}`,
        interceptors: [this.#metadata()],
      },
    };
  }

  /** `hasleader` makes etcd end a stream of a member that has lost its quorum, instead of leaving it silent. */
  #metadata(): Interceptor {
    const { token } = this.#options;
    return (options, nextCall) =>
      new InterceptingCall(nextCall(options), {
        start(metadata, _listener, next) {
          metadata.set('hasleader', 'true');
          const present = token();
          if (present !== null) metadata.set('token', present);
          next(metadata, tellStaleTokens);
        },
      });
  }
}

/**
 * etcd3 recognises a refused token by these words and sends the request again, with the same token, as fast as it can
 * until the deadline. In other words the refusal reaches us, who can log in anew.
 */
const tellStaleTokens: Listener = new ListenerBuilder()
  .withOnReceiveStatus((status, next) => {
    const details = status.details.replace('invalid auth token', 'invalid authentication token');
    next({ ...status, details });
  })
  .build();
