// The configuration in force, and how another one takes its place at SIGHUP or when files are renewed on disk. What may fail
// is tried before anything is changed: what is announced has happened, and what cannot happen changes nothing.
import type { Configuration } from './configuration.ts';
import { certificateWarnings, type Credentials } from './files.ts';
import { etcdBundle, listenersBundle, reloaded, withFrozen } from './reload.ts';
import type { Bundle, Reloaded, Whole } from './reload.ts';
import { settingOf, type SettingKey } from './settings.ts';

interface Log {
  level: string;
  isLevelEnabled(level: string): boolean;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface InForceOptions extends Whole {
  readonly log: Log;
  readonly wallNow: () => number;
  /** Another way to etcd, tried before it is used. Rejects, and changes nothing, where it is of no use. */
  readonly reachEtcd: (next: Whole) => Promise<void>;
  /** Throws where the certificates of the listeners are of no use. */
  readonly checkListeners: (next: Whole) => void;
  /** New connections get these; they were checked. */
  readonly renewListeners: (next: Whole) => void;
}

/** Something that was read cannot be used, and what belongs together with it is not taken up. */
interface Failure {
  readonly bundle: Bundle;
  /** Ends with why: `--etcd-password-file cannot be used: etcdserver: …`. */
  readonly message: string;
  readonly cause: unknown;
}

export class InForce {
  readonly #options: InForceOptions;
  #whole: Whole;
  #frozen: readonly Bundle[] = [];
  /** One after the other: what was read last stays. */
  #last: Promise<unknown> = Promise.resolve();
  /** What SIGHUP brought and is not in force. */
  #refused: { readonly read: Whole; readonly why: string } | null = null;
  /** What was renewed on disk and is not used yet; it is tried again at each look, and complained of once. */
  #waiting: string | null = null;

  constructor(options: InForceOptions) {
    const { configuration, credentials } = options;
    this.#options = options;
    this.#whole = { configuration, credentials };
  }

  get configuration(): Configuration {
    return this.#whole.configuration;
  }

  get credentials(): Credentials {
    return this.#whole.credentials;
  }

  /** Why what was read last is not in force; null where it is. */
  trouble(): string | null {
    return this.#refused?.why ?? this.#waiting;
  }

  /** What may be used of files that were read anew. */
  usable(read: Credentials): Credentials {
    return withFrozen(this.credentials, read, this.#frozen);
  }

  /** SIGHUP: all but what needs a restart, or nothing; resolves with whether it was taken up. Never rejects. */
  reload(read: Whole): Promise<boolean> {
    return this.#next(async () => {
      const change = reloaded(this.#whole, read);
      const failure = await this.#carryOut(change, true);
      if (failure !== null) {
        const why = `nothing was reloaded: ${failure.message}`;
        this.#refused = { read, why };
        this.#options.log.error({ err: failure.cause }, why);
        return false;
      }
      this.#refused = null;
      this.#frozen = change.frozen;
      const named = change.restart.map(nameOf);
      const said = 'changed, and not taken up before the next start: what is in force stays';
      if (named.length > 0) {
        this.#options.log.warn({ settings: named }, `${named.join(', ')}: ${said}`);
      }
      return true;
    });
  }

  /**
   * Files as they are on disk now: whatever of them is new and usable is used. What is not, stays as it was, and keeps nothing
   * else from being used. Never rejects.
   */
  renew(read: Credentials): Promise<void> {
    return this.#next(async () => {
      const failures: Failure[] = [];
      for (;;) {
        const [before, { configuration }] = [this.credentials, this];
        const left = [...this.#frozen, ...failures.map(({ bundle }) => bundle)];
        const credentials = withFrozen(before, read, left);
        const change = reloaded(this.#whole, { configuration, credentials });
        const failure = await this.#carryOut(change, change.taken.length > 0);
        if (failure === null) break;
        failures.push(failure);
      }
      this.#complain(failures);
      const refused = this.#refused;
      if (refused !== null && reloaded(this.#whole, refused.read).taken.length === 0) {
        this.#refused = null;
      }
    });
  }

  #complain(failures: readonly Failure[]): void {
    const why = failures.map(({ message }) => message).join('; ');
    const waiting = why === '' ? null : `renewed, and tried again until it can be used: ${why}`;
    if (waiting !== null && waiting !== this.#waiting) {
      this.#options.log.error(
        { err: failures[0]?.cause },
        `${waiting}. What was read before stays`,
      );
    }
    this.#waiting = waiting;
  }

  /** What may fail comes first. */
  async #carryOut({ next, taken }: Reloaded, isSaid: boolean): Promise<Failure | null> {
    const { reachEtcd, checkListeners, renewListeners } = this.#options;
    const of = ({ keys }: Bundle): readonly SettingKey[] =>
      taken.filter((key) => keys.includes(key));
    const tried = async (bundle: Bundle, attempt: () => unknown): Promise<Failure | null> => {
      if (of(bundle).length === 0) return null;
      try {
        await attempt();
        return null;
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        const message = `${of(bundle).map(nameOf).join(', ')} cannot be used: ${why}`;
        return { bundle, message, cause };
      }
    };
    const failure =
      (await tried(listenersBundle, () => checkListeners(next))) ??
      (await tried(etcdBundle, () => reachEtcd(next)));
    if (failure !== null) return failure;
    this.#whole = next;
    if (of(listenersBundle).length > 0) renewListeners(next);
    if (isSaid) this.#say(taken.map(nameOf));
    return null;
  }

  /** Before the level that is chosen anew, where that would hide it. */
  #say(changed: readonly string[]): void {
    const { log, wallNow } = this.#options;
    const { logLevel } = this.configuration;
    const say = (): void => {
      log.info({ logLevel, changed }, 'certificates, passwords and tokens were read anew');
      for (const one of certificateWarnings(this.credentials, wallNow())) log.warn({}, one);
    };
    const isHeard = log.isLevelEnabled('info');
    if (isHeard) say();
    log.level = logLevel;
    if (!isHeard) say();
  }

  #next<Result>(work: () => Promise<Result>): Promise<Result> {
    const done = this.#last.then(work);
    this.#last = done;
    return done;
  }
}

/** As it is typed, or as its variable where it is no flag. */
function nameOf(key: SettingKey): string {
  const { flag, name, variable } = settingOf(key);
  return flag ? `--${name}` : variable;
}
