// The addresses behind the names of endpoints. etcd3 makes a new channel after each failure, and each channel of grpc-js
// would look its name up for itself: while etcd is away, a name server would hear from every sidecar many times a second.
// Here a name is looked up once for the whole process, and again no sooner than a second later, whatever came of it.
import { promises as dns, type LookupAddress } from 'node:dns';
import { isIP } from 'node:net';
import { experimental, Metadata, status } from '@grpc/grpc-js';

/** As `lookAgainAfterMs` of discovery.ts: a quarter of the shortest sensible lease. */
const againAfterMs = 1000;
/** etcd's own, where an endpoint names none. */
const defaultPort = 2379;

interface Lookup {
  readonly answer: Promise<readonly LookupAddress[]>;
  /** Resolves when the name may be looked up again. */
  readonly over: Promise<void>;
}

const lookups = new Map<string, Lookup>();

/** The lookup under way, or one that is not over, or a new one. */
function lookUp(host: string): Lookup {
  const present = lookups.get(host);
  if (present !== undefined) return present;
  const answer = dns.lookup(host, { all: true });
  const wait = (): Promise<void> =>
    new Promise((resolve) => {
      setTimeout(resolve, againAfterMs).unref();
    });
  const over = answer.then(wait, wait).then(() => void lookups.delete(host));
  const lookup = { answer, over };
  lookups.set(host, lookup);
  return lookup;
}

type Outcome = Parameters<experimental.ResolverListener>[0];

/** Of one channel: tells it the addresses when it asks for them, and does not tell it the same lookup twice. */
class SharedNames implements experimental.Resolver {
  readonly #host: string;
  readonly #port: number;
  readonly #listener: experimental.ResolverListener;
  #told: Lookup | null = null;
  /** The question that is not answered yet. */
  #asked: object | null = null;

  constructor({ path }: experimental.GrpcUri, listener: experimental.ResolverListener) {
    const { host, port } = experimental.splitHostPort(path) ?? { host: path };
    this.#host = host;
    this.#port = port ?? defaultPort;
    this.#listener = listener;
  }

  static getDefaultAuthority({ path }: experimental.GrpcUri): string {
    return path;
  }

  updateResolution(): void {
    if (this.#asked !== null) return;
    this.#asked = {};
    void this.#answer(this.#asked);
  }

  destroy(): void {
    this.#asked = null;
    this.#told = null;
  }

  async #answer(asked: object): Promise<void> {
    if (lookUp(this.#host) === this.#told) await this.#told.over;
    if (this.#asked !== asked) return;
    this.#told = lookUp(this.#host);
    const outcome = await this.#outcomeOf(this.#told);
    if (this.#asked !== asked) return;
    this.#asked = null;
    this.#listener(outcome, {}, null, '');
  }

  async #outcomeOf({ answer }: Lookup): Promise<Outcome> {
    try {
      const addresses = await answer;
      return experimental.statusOrFromValue(
        addresses.map(({ address }) => ({ addresses: [{ host: address, port: this.#port }] })),
      );
    } catch (failure) {
      const details = `${this.#host} has no address: ${String(failure)}`;
      const metadata = new Metadata();
      return experimental.statusOrFromError({ code: status.UNAVAILABLE, details, metadata });
    }
  }
}

const scheme = 'electord';
experimental.registerResolver(scheme, SharedNames);

/** The URL of an endpoint as etcd3 is to be given it: a name in it is looked up here. */
export function withSharedName(url: string): string {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  return isIP(host) === 0 ? url.replace('://', `://${scheme}:`) : url;
}
