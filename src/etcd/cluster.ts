// All endpoints as one: every request is idempotent, goes to the endpoint that answered last, and is hedged to the
// next ones, so that a frozen or silent member costs a quarter of a second and not a lease. Keeps the login.
import type { ITxnRequest, ITxnResponse } from 'etcd3';
import { Discovery, type ResolveSrv } from './discovery.ts';
import { classify, isRefusal, isStaleToken } from './faults.ts';
import { Endpoint, type TlsMaterial } from './endpoint.ts';
import { Login, type PresentLogin } from './login.ts';
import { versionWarning } from './versions.ts';
import { World, type Header } from './world.ts';
import type { Millis } from '../core/model.ts';
import { EtcdWentBack, OtherCluster, Unreachable } from '../errors.ts';
import type { Answer, Clock, RequestObserver } from '../ports.ts';
import {
  discardClientAfterMs,
  hedgedRequest,
  otherClusterAgainMs,
  patientBounds,
  requestBounds,
  urgentBounds,
  within,
  type Hedge,
  type RequestBounds,
  type Weight,
} from '../policies.ts';

/** Where etcd is, and who we are to it. */
export interface EtcdAccess {
  /** `scheme://host:port`, or `srv://domain` and `srv+https://domain`. */
  readonly endpoints: readonly string[];
  readonly tls: () => TlsMaterial;
  /** Called for every login. */
  readonly login: PresentLogin;
}

export interface ClusterOptions extends EtcdAccess {
  readonly ttlMs: number;
  /** The short lease; null, or left out, where there is none. */
  readonly fastFailoverMs?: number | null;
  readonly clock: Clock;
  readonly observer: RequestObserver;
  /** Told once of an endpoint that is left out, or whose etcd has known faults. */
  readonly warn?: (message: string) => void;
  /** Told of all endpoints when they have become others. */
  readonly moved?: (endpoints: readonly string[]) => void;
  /** Of discovery.ts, for tests. */
  readonly resolveSrv?: ResolveSrv;
  readonly lookEveryMs?: number;
}

/** What keeps etcd, or some of its endpoints, from being used. */
export interface EtcdCondition {
  /** Why nothing of etcd is believed, null where it is. */
  readonly wentBack: string | null;
  /** Why an endpoint is left out: one reason each. */
  readonly leftOut: readonly string[];
}

interface Headed {
  readonly header: Header | null;
}

/** One request to one endpoint; must end within `limitMs`. */
export type Request<Value extends Headed> = (endpoint: Endpoint, limitMs: number) => Promise<Value>;

/**
 * The lines that requests stand in, so that nothing waits for what matters less: renewals, which all else depends on; what
 * a short lease depends on, which is asked elsewhere sooner;
 * reads and ends of terms; standing in a queue, of which there are thousands after a start; and what only
 * somebody who asked waits for.
 */
export type Lane = 'lease' | 'urgent' | 'term' | 'queue' | 'patient';

export class Cluster {
  /** Of requests on which the lease depends. */
  readonly bounds: RequestBounds;
  readonly #options: ClusterOptions;
  readonly #discovery: Discovery;
  readonly #hedges: Readonly<Record<Lane, Hedge>>;
  readonly #login: Login;
  #access: EtcdAccess;
  #endpoints: readonly Endpoint[] = [];
  readonly #world: World;
  readonly #meetings = new Map<Endpoint, Promise<void>>();
  /** Those that have answered as members of our cluster. */
  readonly #proven = new Set<Endpoint>();
  /** Those that answered as members of another, and from when on they are looked at again. */
  readonly #others = new Map<Endpoint, { readonly why: string; readonly until: Millis }>();
  readonly #warned = new Set<string>();
  #preferred = 0;
  #closed = false;

  constructor(options: ClusterOptions, world = new World()) {
    this.#options = options;
    this.#world = world;
    this.#access = options;
    this.bounds = requestBounds(options.ttlMs);
    this.#login = new Login(() => this.#access.login(), this.bounds);
    this.#hedges = {
      lease: hedgedRequest(this.bounds),
      urgent: hedgedRequest(urgentBounds(this.bounds, options.fastFailoverMs ?? null)),
      term: hedgedRequest(this.bounds),
      queue: hedgedRequest(this.bounds),
      patient: hedgedRequest(patientBounds),
    };
    this.#discovery = new Discovery({
      ...options,
      configured: options.endpoints,
      members: () => this.#members(),
      found: (urls) => this.#use(urls),
    });
    this.#use(options.endpoints.filter((url) => !url.startsWith('srv')));
    this.#discovery.start();
  }

  /**
   * Another way to the same etcd is configured: endpoints, certificates and login, which belong together. It is tried first,
   * with `prove` as its one request, beside the present one. Rejects, and changes nothing, with OtherCluster where an endpoint
   * belongs to another cluster, and else with what became of that request.
   */
  async configure(
    access: EtcdAccess,
    prove: (cluster: Cluster) => Promise<unknown>,
  ): Promise<void> {
    const silent = { warn: () => undefined, moved: () => undefined };
    const observer = { requested: () => undefined };
    const tried = new Cluster({ ...this.#options, ...access, ...silent, observer }, this.#world);
    try {
      await tried.meet();
      await prove(tried);
    } finally {
      tried.close();
    }
    if (!this.#closed) this.#adopt(access, tried);
  }

  /**
   * Sends one idempotent request, wherever it is answered first. `linearizable` tells whether the revision of its answer
   * is none of the past. Rejects with a class of errors.ts.
   */
  async request<Value extends Headed>(
    operation: string,
    request: Request<Value>,
    lane: Lane = 'term',
    linearizable = false,
  ): Promise<Answer<Value>> {
    const { clock, observer } = this.#options;
    const startedAt = clock.now();
    const { attemptMs } = lane === 'patient' ? patientBounds : this.bounds;
    const attempt = async (endpoint: Endpoint): Promise<Answer<Value>> =>
      this.#attempt(endpoint, (there) => request(there, attemptMs), linearizable);
    try {
      if (this.#endpoints.length === 0) await this.#discovery.lookUp();
      if (this.#endpoints.length === 0) throw new Unreachable('no name server says where etcd is');
      const targets = this.inOrder();
      this.#refuseWhatCannotBe(operation, targets);
      const hedge = this.#hedges[lane];
      const { value, target } = await hedge(targets, attempt, (failure, endpoint) =>
        this.#weigh(failure, endpoint),
      );
      // One that is not used any more may still have answered.
      this.#preferred = Math.max(0, this.#endpoints.indexOf(target));
      observer.requested(operation, 'ok', clock.now() - startedAt);
      return value;
    } catch (failure) {
      observer.requested(operation, 'failed', clock.now() - startedAt);
      const error = classify(failure);
      if (error instanceof Unreachable) this.#discovery.failed();
      throw error;
    }
  }

  /** Sends one transaction; `sent` says how often, to wherever. */
  async transact(
    operation: string,
    request: ITxnRequest,
    lane: Lane = 'term',
  ): Promise<Answer<ITxnResponse> & { readonly sent: number }> {
    let sent = 0;
    const attempt: Request<ITxnResponse> = (endpoint, limitMs) => {
      sent += 1;
      return endpoint.client().kv.txn(request, endpoint.within(limitMs));
    };
    return { ...(await this.request(operation, attempt, lane, true)), sent };
  }

  /** The endpoints that are not of another cluster, the one that answered last first. */
  inOrder(): readonly Endpoint[] {
    const now = this.#options.clock.now();
    const all = [
      ...this.#endpoints.slice(this.#preferred),
      ...this.#endpoints.slice(0, this.#preferred),
    ];
    return all.filter((endpoint) => now >= (this.#others.get(endpoint)?.until ?? now));
  }

  /** Takes in the header of an answer, `floor` as in World. Throws where it is no answer of our etcd. */
  judge(endpoint: Endpoint, header: Header | null, floor: bigint | null = null): void {
    try {
      this.#world.judge(endpoint.url, header, floor);
      this.#proven.add(endpoint);
      this.#others.delete(endpoint);
    } catch (failure) {
      if (failure instanceof OtherCluster) {
        const until = this.#options.clock.now() + otherClusterAgainMs;
        this.#others.set(endpoint, { why: failure.message, until });
        this.#proven.delete(endpoint);
        // Whatever leads there may have been put right by then: the connection would stay where it is.
        endpoint.discard();
        this.#warnOnce(
          `${failure.message}: it is left out; name the endpoints of one cluster only`,
        );
      }
      throw failure;
    }
  }

  /** Looks at every endpoint once. Rejects with OtherCluster where two clusters answer. */
  async meet(): Promise<void> {
    if (this.#endpoints.length === 0) await this.#discovery.lookUp();
    const meetings = this.#endpoints.map((endpoint) =>
      within(this.bounds.attemptMs, async () => {
        await this.ensureToken(endpoint);
        await this.#meet(endpoint);
      }),
    );
    for (const outcome of await Promise.allSettled(meetings)) {
      if (outcome.status === 'rejected' && outcome.reason instanceof OtherCluster) {
        throw outcome.reason;
      }
    }
  }

  condition(): EtcdCondition {
    const leftOut = [...this.#others.values()].map(({ why }) => why);
    return { wentBack: this.#world.wentBack()?.message ?? null, leftOut };
  }

  /** Makes the next request begin elsewhere: this endpoint answers, but is found wanting. */
  avoid(endpoint: Endpoint): void {
    if (this.#endpoints[this.#preferred] !== endpoint) return;
    this.#preferred = (this.#preferred + 1) % this.#endpoints.length;
  }

  /** Logs in at the endpoint, where that is asked for and not done yet. */
  ensureToken(endpoint: Endpoint): Promise<void> {
    return this.#login.ensure(endpoint);
  }

  /** Certificates or the password have changed: every connection and the token are made anew. */
  reset(): void {
    this.#login.forget();
    this.#proven.clear();
    this.#others.clear();
    for (const endpoint of this.#endpoints) endpoint.discard();
  }

  /** Ends all streams and connections; requests are rejected from now on. */
  close(): void {
    this.#closed = true;
    this.#discovery.stop();
    for (const endpoint of this.#endpoints) endpoint.close();
  }

  /** In one go: nothing of the old access is used with something of the new one. */
  #adopt(access: EtcdAccess, tried: Cluster): void {
    this.#access = access;
    this.#discovery.adopt(tried.#discovery);
    this.#use(tried.#endpoints.map(({ url }) => url));
    this.reset();
  }

  /** Goes on with the connections to those that are used already, and ends those to others. */
  #use(urls: readonly string[]): void {
    const { clock } = this.#options;
    const tls = (): TlsMaterial => this.#access.tls();
    const before = this.#endpoints;
    const [preferred] = this.inOrder();
    const token = (): string | null => this.#login.token();
    const discardAfterMs = discardClientAfterMs(this.bounds);
    this.#endpoints = urls.map(
      (url) =>
        before.find((one) => one.url === url) ??
        new Endpoint({ url, tls, clock, token, discardAfterMs }),
    );
    this.#preferred = Math.max(0, preferred === undefined ? 0 : this.#endpoints.indexOf(preferred));
    const gone = before.filter((one) => !this.#endpoints.includes(one));
    for (const one of gone) one.close();
    const isOther = gone.length > 0 || this.#endpoints.length > before.length;
    if (before.length > 0 && isOther) this.#options.moved?.(urls);
  }

  /** The client URLs of etcd's members, by whichever answers first in order. */
  async #members(): Promise<readonly string[]> {
    for (const endpoint of this.inOrder()) {
      try {
        const options = endpoint.within(patientBounds.attemptMs);
        const { members } = await endpoint.client().cluster.memberList({}, options);
        return members.flatMap(({ clientURLs }) => clientURLs);
      } catch {
        // The next one is asked.
      }
    }
    throw new Unreachable('no member names the others');
  }

  async #attempt<Value extends Headed>(
    endpoint: Endpoint,
    request: (endpoint: Endpoint) => Promise<Value>,
    linearizable: boolean,
  ): Promise<Answer<Value>> {
    try {
      const answer = await this.#withToken(endpoint, async () => {
        if (!this.#proven.has(endpoint)) await this.#meet(endpoint);
        const floor = linearizable ? this.#world.newest : null;
        const sentAt = this.#options.clock.now();
        const value = await request(endpoint);
        this.judge(endpoint, value.header, floor);
        return { value, sentAt };
      });
      endpoint.answered();
      return answer;
    } catch (failure) {
      const error = classify(failure);
      if (error instanceof Unreachable) endpoint.failed();
      else endpoint.answered();
      throw error;
    }
  }

  /** A token that has run out is replaced once. */
  async #withToken<Value>(endpoint: Endpoint, attempt: () => Promise<Value>): Promise<Value> {
    await this.#login.ensure(endpoint);
    const used = this.#login.token();
    try {
      return await attempt();
    } catch (failure) {
      if (used === null || !isStaleToken(classify(failure))) throw failure;
      await this.#login.renew(endpoint, used);
      return attempt();
    }
  }

  /** Nothing is written to an etcd that has gone back; it is only looked at, until it is where it was. */
  #refuseWhatCannotBe(operation: string, targets: readonly Endpoint[]): void {
    const wentBack = this.#world.wentBack();
    if (wentBack !== null && operation !== 'observe') throw wentBack;
    if (targets.length > 0) return;
    throw new OtherCluster([...this.#others.values()].map(({ why }) => why).join('; '));
  }

  /**
   * Asks an endpoint who it is before anything else is asked of it: a write must not reach another cluster. An etcd that
   * tells that to nobody but its administrators is known by its first answer.
   */
  async #meet(endpoint: Endpoint): Promise<void> {
    let meeting = this.#meetings.get(endpoint);
    if (meeting === undefined) {
      const options = endpoint.within(this.bounds.attemptMs);
      meeting = endpoint
        .client()
        .maintenance.status(options)
        .then(({ header, version }) => {
          this.judge(endpoint, header);
          const warning = versionWarning(endpoint.url, version);
          if (warning !== null) this.#warnOnce(warning);
        })
        .finally(() => this.#meetings.delete(endpoint));
      this.#meetings.set(endpoint, meeting);
    }
    try {
      await meeting;
    } catch (failure) {
      if (!isRefusal(classify(failure))) throw failure;
    }
  }

  #warnOnce(message: string): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.#options.warn?.(message);
  }

  /** What refuses and has never answered may be no member of our cluster, or have other users. */
  #weigh(failure: unknown, endpoint: Endpoint): Weight {
    const error = classify(failure);
    if (error instanceof Unreachable) return 'nothing';
    if (error instanceof OtherCluster || error instanceof EtcdWentBack) return 'little';
    if (this.#proven.has(endpoint)) return 'all';
    this.avoid(endpoint);
    return 'little';
  }
}
