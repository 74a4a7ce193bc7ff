// Those who watch the health of a service: told what is so when they come, and then each change. What is told is made at that
// moment; one that does not read gets the present answer once it does, and not all that lie between.
import type { ServerWritableStream } from '@grpc/grpc-js';
import { servingStatus, type HealthRequest, type ServingStatus } from './service.ts';

type Call = ServerWritableStream<HealthRequest, ServingStatus>;

interface Watcher {
  readonly call: Call;
  said: ServingStatus | null;
  /** False until the network has taken what was last said. */
  reads: boolean;
}

/** What changes without a notice, such as how old knowledge is, is told this late at most. */
const lookEveryMs = 500;

export interface WatchersOptions {
  /** The answer of this moment. */
  readonly statusOf: (service: string) => ServingStatus;
  /** Calls back whenever an answer may be another; the returned function ends that. */
  readonly onChange: (changed: () => void) => () => void;
  readonly atMost: number;
  readonly reportError: (error: unknown) => void;
}

export class Watchers {
  readonly #options: WatchersOptions;
  readonly #watchers = new Set<Watcher>();
  readonly #end: () => void;
  readonly #timer: NodeJS.Timeout;
  #looksSoon = false;
  #closed = false;

  constructor(options: WatchersOptions) {
    this.#options = options;
    // Not at once: it may come from the middle of an election's step.
    this.#end = options.onChange(() => {
      if (this.#looksSoon || this.#watchers.size === 0) return;
      this.#looksSoon = true;
      setImmediate(() => this.#look());
    });
    this.#timer = setInterval(() => this.#look(), lookEveryMs);
    this.#timer.unref();
  }

  /** Whether one more is taken. */
  isFull(): boolean {
    return this.#watchers.size >= this.#options.atMost;
  }

  open(call: Call): void {
    const watcher: Watcher = { call, said: null, reads: true };
    const gone = (): void => void this.#watchers.delete(watcher);
    call.on('cancelled', gone).on('close', gone).on('finish', gone);
    call.on('drain', () => {
      watcher.reads = true;
      this.#tell(watcher, this.#statusOf(call.request.service));
    });
    this.#watchers.add(watcher);
    this.#tell(watcher, this.#statusOf(call.request.service));
    if (this.#closed) call.end();
  }

  /** Nothing is served any more: everybody is told so, and every stream ends. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#end();
    clearInterval(this.#timer);
    for (const watcher of this.#watchers) {
      this.#tell(watcher, this.#statusOf(watcher.call.request.service));
      watcher.call.end();
    }
  }

  #look(): void {
    this.#looksSoon = false;
    if (this.#closed) return;
    const answers = new Map<string, ServingStatus>();
    for (const watcher of this.#watchers) {
      const { service } = watcher.call.request;
      const status = answers.get(service) ?? this.#statusOf(service);
      answers.set(service, status);
      this.#tell(watcher, status);
    }
  }

  #tell(watcher: Watcher, status: ServingStatus): void {
    if (status === watcher.said || !watcher.reads || !this.#watchers.has(watcher)) return;
    watcher.said = status;
    watcher.reads = watcher.call.write(status);
  }

  #statusOf(service: string): ServingStatus {
    try {
      const { SERVICE_UNKNOWN, NOT_SERVING } = servingStatus;
      const status = this.#options.statusOf(service);
      return this.#closed && status !== SERVICE_UNKNOWN ? NOT_SERVING : status;
    } catch (error) {
      this.#options.reportError(error);
      return servingStatus.NOT_SERVING;
    }
  }
}
