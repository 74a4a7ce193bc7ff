// All endpoints as one: every request is idempotent, goes to the endpoint that answered last, and is hedged to the
// next ones, so that a frozen or silent member costs a quarter of a second and not a lease. Keeps the login.
import { classify, isStaleToken } from './faults.ts';
import { Endpoint, type TlsMaterial } from './endpoint.ts';
import { Denied, Unreachable } from '../errors.ts';
import type { Answer, Clock, RequestObserver } from '../ports.ts';
import {
  authentication,
  discardClientAfterMs,
  hedgedRequest,
  patientBounds,
  requestBounds,
  type Hedge,
  type RequestBounds,
} from '../policies.ts';

export interface ClusterOptions {
  readonly endpoints: readonly string[];
  readonly tls: () => TlsMaterial;
  /** User and password, null where etcd asks for none; called for every login. */
  readonly login: () => { readonly username: string; readonly password: string } | null;
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly observer: RequestObserver;
}

/** One request to one endpoint; must end within `limitMs`. */
export type Request<Value> = (endpoint: Endpoint, limitMs: number) => Promise<Value>;

/** Whether the lease depends on the answer, or only somebody who waits for it. */
export type Urgency = 'lease' | 'patient';

export class Cluster {
  /** Of requests on which the lease depends. */
  readonly bounds: RequestBounds;
  readonly #options: ClusterOptions;
  readonly #endpoints: readonly Endpoint[];
  readonly #hedges: Readonly<Record<Urgency, Hedge>>;
  #preferred = 0;
  #token: string | null = null;
  #loggingIn: Promise<void> | null = null;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.bounds = requestBounds(options.ttlMs);
    this.#hedges = { lease: hedgedRequest(this.bounds), patient: hedgedRequest(patientBounds) };
    const discardAfterMs = discardClientAfterMs(this.bounds);
    const { tls, clock } = options;
    const token = (): string | null => this.#token;
    this.#endpoints = options.endpoints.map(
      (url) => new Endpoint({ url, tls, clock, token, discardAfterMs }),
    );
  }

  /** Sends one idempotent request, wherever it is answered first. Rejects with a class of errors.ts. */
  async request<Value>(
    operation: string,
    request: Request<Value>,
    urgency: Urgency = 'lease',
  ): Promise<Answer<Value>> {
    const { clock, observer } = this.#options;
    const startedAt = clock.now();
    const { attemptMs } = urgency === 'lease' ? this.bounds : patientBounds;
    const attempt = async (endpoint: Endpoint): Promise<Answer<Value>> =>
      this.#attempt(endpoint, (there) => request(there, attemptMs));
    try {
      const hedge = this.#hedges[urgency];
      const { value, target } = await hedge(this.inOrder(), attempt, worthTryingElsewhere);
      this.#preferred = this.#endpoints.indexOf(target);
      observer.requested(operation, 'ok', clock.now() - startedAt);
      return value;
    } catch (failure) {
      observer.requested(operation, 'failed', clock.now() - startedAt);
      throw classify(failure);
    }
  }

  /** The endpoints, the one that answered last first. */
  inOrder(): readonly Endpoint[] {
    return [
      ...this.#endpoints.slice(this.#preferred),
      ...this.#endpoints.slice(0, this.#preferred),
    ];
  }

  /** Makes the next request begin elsewhere: this endpoint answers, but is found wanting. */
  avoid(endpoint: Endpoint): void {
    if (this.#endpoints[this.#preferred] !== endpoint) return;
    this.#preferred = (this.#preferred + 1) % this.#endpoints.length;
  }

  /** Logs in, where a user is configured and no token is at hand. */
  async ensureToken(endpoint: Endpoint): Promise<void> {
    if (this.#token !== null || this.#options.login() === null) return;
    this.#loggingIn ??= this.#authenticate(endpoint).finally(() => {
      this.#loggingIn = null;
    });
    await this.#loggingIn;
  }

  /** Certificates or the password have changed: every connection and the token are made anew. */
  reset(): void {
    this.#token = null;
    for (const endpoint of this.#endpoints) endpoint.discard();
  }

  /** Ends all streams and connections; requests are rejected from now on. */
  close(): void {
    for (const endpoint of this.#endpoints) endpoint.close();
  }

  async #attempt<Value>(
    endpoint: Endpoint,
    request: (endpoint: Endpoint) => Promise<Value>,
  ): Promise<Answer<Value>> {
    try {
      const answer = await this.#withToken(endpoint, request);
      endpoint.answered();
      return answer;
    } catch (failure) {
      const error = classify(failure);
      if (error instanceof Unreachable) endpoint.failed();
      else endpoint.answered();
      throw error;
    }
  }

  /** A token that has run out is replaced once; `sentAt` is taken just before the request that is answered. */
  async #withToken<Value>(
    endpoint: Endpoint,
    request: (endpoint: Endpoint) => Promise<Value>,
  ): Promise<Answer<Value>> {
    const { clock } = this.#options;
    await this.ensureToken(endpoint);
    const used = this.#token;
    try {
      const sentAt = clock.now();
      return { value: await request(endpoint), sentAt };
    } catch (failure) {
      if (used === null || !isStaleToken(classify(failure))) throw failure;
      if (this.#token === used) this.#token = null;
      await this.ensureToken(endpoint);
      const sentAt = clock.now();
      return { value: await request(endpoint), sentAt };
    }
  }

  async #authenticate(endpoint: Endpoint): Promise<void> {
    const login = this.#options.login();
    if (login === null) return;
    const { username: name, password } = login;
    await authentication(this.bounds).execute(async () => {
      const options = endpoint.within(this.bounds.attemptMs);
      const { token } = await endpoint.client().auth.authenticate({ name, password }, options);
      if (token === '') throw new Denied('etcd gave no token');
      this.#token = token;
    });
  }
}

const worthTryingElsewhere = (failure: unknown): boolean =>
  classify(failure) instanceof Unreachable;
