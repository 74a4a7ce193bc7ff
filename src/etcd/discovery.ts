// Where etcd is, while it moves: SRV records are looked up anew, and the members that etcd itself names are a hint, so that
// members may be replaced one after the other until none is left of those that were configured. What was found last
// stays where nothing is found. It connects to nothing.
import { promises as dns, type SrvRecord } from 'node:dns';
import type { Millis } from '../core/model.ts';
import type { Clock } from '../ports.ts';
import { Loop } from '../process/loop.ts';

/** The SRV records of a name; rejects where there are none, or nobody answers. */
export type ResolveSrv = (name: string) => Promise<readonly SrvRecord[]>;

export interface DiscoveryOptions {
  /** `scheme://host:port`, or `srv://domain` and `srv+https://domain`. */
  readonly configured: readonly string[];
  readonly clock: Clock;
  /** The client URLs that etcd has of its members; rejects where etcd does not answer. */
  readonly members: () => Promise<readonly string[]>;
  /** Told of all endpoints, whenever they may have changed; never of none. */
  readonly found: (urls: readonly string[]) => void;
  readonly resolveSrv?: ResolveSrv;
  /** Milliseconds between two looks, where nothing fails. */
  readonly lookEveryMs?: number;
}

/**
 * Members are replaced one at a time. etcd wants all of them to have been well for five seconds before each change, so that
 * whoever replaces them as fast as it lets him is followed.
 */
const standardLookEveryMs = 10_000;
/** While connections fail names are looked up again this often: a quarter of the shortest sensible lease. */
const lookAgainAfterMs = 1000;
/** A name server that is silent is left for the next one, or for the next look. */
const resolving = { timeout: 1000, tries: 2 };
/** No etcd has more members. */
const mostMembers = 32;

const srvPattern = /^srv(\+https)?:\/\/(.+)$/;

export class Discovery {
  readonly #options: DiscoveryOptions;
  readonly #resolveSrv: ResolveSrv;
  readonly #loop: Loop;
  readonly #byName = new Map<string, readonly string[]>();
  #configured: readonly string[];
  #members: readonly string[] = [];
  #lookup: Promise<void> | null = null;
  #lookedUpAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(options: DiscoveryOptions) {
    this.#options = options;
    this.#configured = options.configured;
    this.#loop = new Loop(options.clock);
    const resolver = new dns.Resolver(resolving);
    this.#resolveSrv = options.resolveSrv ?? ((name) => resolver.resolveSrv(name));
  }

  /** Looks every so often, from now on. */
  start(): void {
    let first = true;
    void this.#loop.run(async () => {
      await this.lookUp();
      // At the start nothing can have changed yet.
      if (!first) await this.#askMembers();
      first = false;
      return this.#options.lookEveryMs ?? standardLookEveryMs;
    });
  }

  stop(): void {
    this.#loop.stop();
  }

  /** Others are configured from now on: those of another one, with what it has found of them. */
  adopt(other: Discovery): void {
    this.#configured = other.#configured;
    for (const [name, urls] of other.#byName) this.#byName.set(name, urls);
    this.#members = [];
  }

  /** A connection failed: perhaps what the names say has changed. */
  failed(): void {
    if (this.#options.clock.now() - this.#lookedUpAt >= lookAgainAfterMs) void this.lookUp();
  }

  /** Looks the names up, once at a time; never rejects. */
  lookUp(): Promise<void> {
    this.#lookup ??= this.#lookUpAll().finally(() => (this.#lookup = null));
    return this.#lookup;
  }

  async #lookUpAll(): Promise<void> {
    this.#lookedUpAt = this.#options.clock.now();
    const names = this.#configured.filter((one) => srvPattern.test(one));
    await Promise.all(names.map((name) => this.#lookUpOne(name)));
    if (names.length > 0) this.#tell();
  }

  async #lookUpOne(url: string): Promise<void> {
    const [, secure, domain = ''] = srvPattern.exec(url) ?? [];
    const service = secure === undefined ? '_etcd-client' : '_etcd-client-ssl';
    try {
      const records = [...(await this.#resolveSrv(`${service}._tcp.${domain}`))];
      const scheme = secure === undefined ? 'http' : 'https';
      const urls = records
        .sort((one, other) => one.priority - other.priority)
        .map(({ name, port }) => `${scheme}://${name.replace(/\.$/, '')}:${port}`);
      if (urls.length > 0) this.#byName.set(url, urls);
    } catch {
      // What it said last stays: a name server that is away is no reason to leave etcd.
    }
  }

  /**
   * The addresses that members give of themselves are good for us where one of them is used already; behind a tunnel or
   * another network's gateway they are not, and then no use is made of them.
   */
  async #askMembers(): Promise<void> {
    const known = this.#all();
    const configured = this.#configured;
    try {
      const members = (await this.#options.members()).slice(0, mostMembers);
      // Those of a way that is not ours any more.
      if (this.#configured !== configured) return;
      if (!members.some((url) => known.includes(url))) return;
      const [scheme = ''] = /^\w+:/.exec(known[0] ?? '') ?? [];
      const local = known.some(isLoopback);
      // A member that calls itself localhost would be another etcd on our machine.
      this.#members = members.filter(
        (url) => url.startsWith(scheme) && (local || !isLoopback(url)),
      );
      this.#tell();
    } catch {
      // Whoever needs an answer asks again; this is a hint.
    }
  }

  #all(): readonly string[] {
    const configured = this.#configured.flatMap((one) =>
      srvPattern.test(one) ? (this.#byName.get(one) ?? []) : [one],
    );
    return [...new Set([...configured, ...this.#members])];
  }

  #tell(): void {
    const all = this.#all();
    if (this.#loop.isRunning() && all.length > 0) this.#options.found(all);
  }
}

const isLoopback = (url: string): boolean =>
  /^https?:\/\/(localhost|127\.[\d.]+|\[::1\])(:|$)/.test(url);
