// What a service manager (systemd) is told of this process by the protocol of sd_notify: that it serves, in words who
// leads, that it reloads, that it stops, and that its event loop turns. Node has no datagram sockets of the kind that
// the protocol uses, so each message is carried by a short-lived `systemd-notify`, one at a time and with a bound.
// It promises to be silent where no service manager listens, and never to be waited for by anything that decides.
import { execFile } from 'node:child_process';
import { setTimeout as setTimeoutPromise } from 'node:timers/promises';
import type { Report } from '../core/report.ts';
import type { Elections, Notice } from '../ports.ts';

export interface ServiceManagerOptions {
  /** Of this process. The variables of the protocol are taken out, so that no child speaks in our name. */
  readonly environment: NodeJS.ProcessEnv;
  readonly elections: Pick<Elections, 'names' | 'report' | 'subscribe'>;
  /** Called for the first message that cannot be delivered, and not again. */
  readonly warn: (message: string) => void;
}

export interface ServiceManager {
  /** We have taken up renewed files: systemd sees a reload that is already done. */
  reloaded(): void;
  /** We are ending. */
  stopping(): void;
  /** Delivers what is left, within a bound; nothing is said after that. Never rejects. */
  close(): Promise<void>;
}

/**
 * A message is put off by this, and two keep this distance: nothing competes with a hand-over, least of all the start of
 * processes, of which a thousand elections that move at once would ask for many.
 */
const sentAfterMs = 100;

/** `systemd-notify` waits until the service manager has read the message, which is a matter of milliseconds. */
const carriedWithinMs = 5000;

/** What the end of the process may be held up by: the lease has been revoked by then. */
const closedWithinMs = 1000;

/** One lost or late sign of life is not the end: the next two come before the service manager's patience is over. */
const signsPerWatchdogInterval = 3;

/** No sign of life more often than this, however impatient the service manager is: each costs a process. */
const shortestSignMs = 250;

/** Of one status text; systemd shows it on a line. */
const statusCharacters = 200;

/** Tells systemd about this process from now on; null where no service manager has asked for it. */
export function notifyServiceManager(options: ServiceManagerOptions): ServiceManager | null {
  const { environment } = options;
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = environment;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) {
    Reflect.deleteProperty(environment, name);
  }
  if (socket === undefined || socket === '') return null;
  const isOurs = pid === undefined || pid === String(process.pid);
  const watchdogMs = isOurs ? Number(usec ?? 0) / 1000 : 0;
  return new Notifier(options, { socket, watchdogMs, inherited: inherited(environment) });
}

interface Protocol {
  readonly socket: string;
  /** How long the service manager waits for a sign of life; 0 or not a number where it does not. */
  readonly watchdogMs: number;
  /** What the carrier needs to be found and loaded; nothing of ours beside that, least of all a secret. */
  readonly inherited: NodeJS.ProcessEnv;
}

function inherited({ PATH, LD_LIBRARY_PATH }: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    ...(PATH === undefined ? {} : { PATH }),
    ...(LD_LIBRARY_PATH === undefined ? {} : { LD_LIBRARY_PATH }),
  };
}

/** A message, as assignments. Of each kind at most one waits: the newest status, one sign of life, one reload. */
interface Message {
  readonly kind: 'ready' | 'status' | 'alive' | 'reloaded' | 'stopping';
  /** Several, where one must not be read without the other before it. */
  readonly assignments: () => readonly (readonly string[])[];
}

class Notifier implements ServiceManager {
  readonly #options: ServiceManagerOptions;
  readonly #protocol: Protocol;
  readonly #unsubscribe: () => void;
  readonly #signs: NodeJS.Timeout | null;
  #waiting: readonly Message[] = [];
  #timer: NodeJS.Timeout | null = null;
  #carrying: Promise<void> | null = null;
  #said = '';
  #warned = false;
  #ended = false;

  constructor(options: ServiceManagerOptions, protocol: Protocol) {
    this.#options = options;
    this.#protocol = protocol;
    this.#say('ready', () => [['READY=1', this.#status()]]);
    this.#unsubscribe = options.elections.subscribe((notice) => this.#hear(notice));
    const { watchdogMs } = protocol;
    const everyMs = Math.max(shortestSignMs, watchdogMs / signsPerWatchdogInterval);
    const sign = (): void => this.#say('alive', () => [['WATCHDOG=1']]);
    this.#signs = watchdogMs > 0 ? setInterval(sign, everyMs).unref() : null;
  }

  reloaded(): void {
    this.#say('reloaded', () => [
      ['RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`],
      ['READY=1'],
    ]);
  }

  stopping(): void {
    // What was to be said of our role is about to be wrong.
    this.#waiting = this.#waiting.filter(({ kind }) => kind === 'ready');
    this.#say('stopping', () => [['STOPPING=1', 'STATUS=stepping down']]);
    this.#ended = true;
  }

  async close(): Promise<void> {
    this.#ended = true;
    this.#unsubscribe();
    if (this.#signs !== null) clearInterval(this.#signs);
    let late: NodeJS.Timeout | undefined;
    const bound = new Promise<void>((resolve) => {
      late = setTimeout(resolve, closedWithinMs);
    });
    await Promise.race([this.#flush(), bound]);
    clearTimeout(late);
    this.#waiting = [];
  }

  #hear({ kind }: Notice): void {
    if (kind === 'changed' || kind === 'elected' || kind === 'ended') this.#sayStatus();
  }

  #sayStatus(): void {
    this.#say('status', () => {
      const before = this.#said;
      const status = this.#status();
      return status === before ? [] : [[status]];
    });
  }

  #status(): string {
    const { elections } = this.#options;
    this.#said = `STATUS=${inWords(elections.names.map((name) => elections.report(name)))}`;
    return this.#said;
  }

  #say(kind: Message['kind'], assignments: Message['assignments']): void {
    if (this.#ended || this.#waiting.some((message) => message.kind === kind)) return;
    this.#waiting = [...this.#waiting, { kind, assignments }];
    this.#timer ??= setTimeout(() => void this.#flush(), sentAfterMs).unref();
  }

  /** Carries all that waits, in order; one carrier at a time. */
  #flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#carrying ??= this.#carryAll().finally(() => {
      this.#carrying = null;
    });
    return this.#carrying;
  }

  async #carryAll(): Promise<void> {
    for (let next = this.#take(); next !== null; next = this.#take()) {
      for (const assignments of next.assignments()) await this.#carry(assignments);
      if (this.#waiting.length > 0 && !this.#ended) await setTimeoutPromise(sentAfterMs);
    }
  }

  #take(): Message | null {
    const [next = null, ...rest] = this.#waiting;
    this.#waiting = rest;
    return next;
  }

  #carry(assignments: readonly string[]): Promise<void> {
    const { socket, inherited: given } = this.#protocol;
    const env = { ...given, NOTIFY_SOCKET: socket };
    const bounds = { timeout: carriedWithinMs, killSignal: 'SIGKILL', maxBuffer: 4096 } as const;
    return new Promise((resolve) => {
      const ended = (failure: Error | null): void => {
        if (failure !== null && !this.#warned) {
          this.#warned = true;
          this.#options.warn(whyNot(failure));
        }
        resolve();
      };
      try {
        execFile('systemd-notify', [...assignments], { env, ...bounds }, ended);
      } catch (failure) {
        // As where there is no memory for one more process: the message is lost, and nothing else.
        ended(failure as Error);
      }
    });
  }
}

function whyNot(failure: Error & { readonly code?: unknown; readonly killed?: boolean }): string {
  const why =
    failure.code === 'ENOENT'
      ? 'there is no systemd-notify on the PATH'
      : failure.killed === true
        ? `systemd-notify did not end within ${carriedWithinMs} ms`
        : failure.message.trim();
  return `the service manager cannot be told how we are: ${why}`;
}

/** The roles as a person would put them; one line. */
function inWords(reports: readonly Report[]): string {
  const [only] = reports;
  const words = only !== undefined && reports.length === 1 ? one(only) : many(reports);
  // Ids come out of etcd, and a line break in one would begin an assignment of its own, such as WATCHDOG=trigger.
  return words.replaceAll(/\p{Cc}/gu, ' ').slice(0, statusCharacters);
}

function one({ election, id, role, leader, token, obstacle }: Report): string {
  switch (role) {
    case 'leader':
      return `${id} leads ${election}${token === null ? '' : `, term ${token.toString()}`}`;
    case 'follower':
    case 'observer': {
      const who = leader === null ? 'nobody leads' : `${leader.id} leads`;
      const why = obstacle === null ? '' : ` (${obstacle.replaceAll('_', ' ')})`;
      return `${role} of ${election}${why}; ${who}`;
    }
    case 'unknown':
      return `waiting for etcd: who leads ${election} is not known`;
  }
}

function many(reports: readonly Report[]): string {
  const count = (wanted: Report['role']): number =>
    reports.filter(({ role }) => role === wanted).length;
  const unknown = count('unknown');
  const rest = unknown === 0 ? '' : `; ${unknown} not known`;
  return `leads ${count('leader')} of ${reports.length} elections${rest}`;
}
