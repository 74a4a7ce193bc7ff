// Our login at etcd: one token for all endpoints, made anew when it has run out. What was begun with one access is no
// login for the next one.
import { Denied, Unreachable } from '../errors.ts';
import { authentication, type RequestBounds } from '../policies.ts';
import type { Endpoint } from './endpoint.ts';

/** User and password, null where etcd asks for none. */
export type PresentLogin = () => { readonly username: string; readonly password: string } | null;

export class Login {
  readonly #present: PresentLogin;
  readonly #bounds: RequestBounds;
  readonly #underWay = new Map<Endpoint, Promise<void>>();
  #token: string | null = null;
  #era = 0;

  constructor(present: PresentLogin, bounds: RequestBounds) {
    this.#present = present;
    this.#bounds = bounds;
  }

  /** What to send with every request, null where there is none. */
  token(): string | null {
    return this.#token;
  }

  /**
   * Logs in, where a user is configured and no token is at hand: once at each endpoint, so that a hedge does not wait
   * for a login at the endpoint that is silent.
   */
  async ensure(endpoint: Endpoint): Promise<void> {
    if (this.#token !== null || this.#present() === null) return;
    let login = this.#underWay.get(endpoint);
    if (login === undefined) {
      login = this.#authenticate(endpoint);
      this.#underWay.set(endpoint, login);
      const over = (): void => {
        if (this.#underWay.get(endpoint) === login) this.#underWay.delete(endpoint);
      };
      login.then(over, over);
    }
    await login;
  }

  /** Replaces a token that has run out. */
  async renew(endpoint: Endpoint, used: string): Promise<void> {
    if (this.#token === used) this.#token = null;
    await this.ensure(endpoint);
  }

  /** Whoever we are to etcd, it is to be told anew. */
  forget(): void {
    this.#token = null;
    this.#era += 1;
    this.#underWay.clear();
  }

  async #authenticate(endpoint: Endpoint): Promise<void> {
    const login = this.#present();
    if (login === null) return;
    const { username: name, password } = login;
    const era = this.#era;
    await authentication(this.#bounds).execute(async () => {
      if (this.#era !== era) throw new Unreachable('another login is configured meanwhile');
      const options = endpoint.within(this.#bounds.attemptMs);
      const { token } = await endpoint.client().auth.authenticate({ name, password }, options);
      if (token === '') throw new Denied('etcd gave no token');
      if (this.#era === era) this.#token = token;
    });
  }
}
