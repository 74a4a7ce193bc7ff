// Writes the lines of the log to a file descriptor and is never waited for: a disk that is full, or a reader that has
// stopped reading, costs lines and nothing else. What was lost is counted, and told once lines can be written again.
import { Buffer } from 'node:buffer';
import { constants, fstatSync, openSync, write } from 'node:fs';
import { Socket } from 'node:net';

/** What a reader of the log that has stopped reading may cost in memory; lines beyond it are lost. */
const mostWaitingBytes = 8 * 1024 * 1024;

/** Between two attempts to hand lines to a reader whose pipe is full: soon enough for eyes, too seldom to be felt. */
const retryAfterMs = 20;

/** How long the end of the process waits for its last lines: claims, keys and lease have been given up by then. */
const flushedWithinMs = 500;

/** Not to be had now, and soon perhaps: a full pipe, or a call that a signal has interrupted. */
const passing: readonly unknown[] = ['EAGAIN', 'EINTR'];

const endOfLine = Buffer.from('\n');

/**
 * The same pipe or terminal, but so that a write never waits for its reader. A description of our own: those who share the
 * given one with us, such as the child of `run`, keep what they have. Files do not wait, and sockets cannot be opened.
 */
function withoutWaiting(descriptor: number): number {
  const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
  try {
    const kind = fstatSync(descriptor);
    if (!kind.isFIFO() && !kind.isCharacterDevice()) return descriptor;
    return openSync(`/proc/self/fd/${descriptor}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    return descriptor;
  }
}

/**
 * Ends the write to a socket whose reader is stuck: it waits in a thread of this process, and the end of the process would
 * wait for that thread. Whoever shares the socket finds it closed for writing, after half a second in which it took nothing.
 */
function cutOff(descriptor: number, done: () => void): void {
  try {
    if (!fstatSync(descriptor).isSocket()) done();
    else new Socket({ fd: descriptor, readable: false }).on('error', done).end(done);
  } catch {
    // It is gone, and whoever waited for it with it.
    done();
  }
}

export class LineWriter {
  readonly #descriptor: number;
  readonly #onLost: (lines: number, why: string) => void;
  #waiting: Buffer[] = [];
  /** Of all that was taken and is neither written nor lost. */
  #bytes = 0;
  #writing = false;
  /** What stands in the file ends in the middle of a line. */
  #torn = false;
  #lost = 0;
  #whyLost = '';
  #onIdle: (() => void)[] = [];

  /** `onLost` is told how many lines were lost, and an error code, when lines can be written again. */
  constructor(descriptor: number, onLost: (lines: number, why: string) => void) {
    this.#descriptor = withoutWaiting(descriptor);
    this.#onLost = onLost;
  }

  /** Takes a line with its end. Never throws. */
  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#bytes + bytes.length > mostWaitingBytes) {
      this.#lose(1, 'EAGAIN');
      return;
    }
    this.#bytes += bytes.length;
    this.#waiting.push(bytes);
    if (!this.#writing) this.#writeWaiting();
  }

  /** For the end of the process: calls `done` once all that was taken is written or lost; half a second is for trying. */
  flush(done: () => void): void {
    if (!this.#writing) {
      done();
      return;
    }
    const late = setTimeout(() => cutOff(this.#descriptor, done), flushedWithinMs);
    this.#onIdle.push(() => {
      clearTimeout(late);
      done();
    });
  }

  #writeWaiting(): void {
    const lines = this.#waiting;
    this.#writing = lines.length > 0;
    if (!this.#writing) {
      for (const done of this.#onIdle.splice(0)) done();
      return;
    }
    this.#waiting = [];
    const bytes = lines.reduce((sum, { length }) => sum + length, 0);
    const settled = (why: string | null): void => {
      this.#bytes -= bytes;
      if (why === null) this.#tellLost();
      else this.#lose(lines.length, why);
      this.#writeWaiting();
    };
    this.#writeAll(Buffer.concat(this.#torn ? [endOfLine, ...lines] : lines), settled);
  }

  /** Calls back with null, or with an error code where the rest cannot be written. */
  #writeAll(bytes: Buffer, settled: (why: string | null) => void): void {
    write(this.#descriptor, bytes, (error, written) => {
      if (error === null) {
        this.#torn = written < bytes.length;
        if (this.#torn) this.#writeAll(bytes.subarray(written), settled);
        else settled(null);
      } else if (passing.includes(error.code)) {
        setTimeout(() => this.#writeAll(bytes, settled), retryAfterMs).unref();
      } else {
        settled(error.code ?? error.message);
      }
    });
  }

  #lose(lines: number, why: string): void {
    this.#lost += lines;
    this.#whyLost = why;
  }

  #tellLost(): void {
    const lost = this.#lost;
    if (lost === 0) return;
    this.#lost = 0;
    this.#onLost(lost, this.#whyLost);
  }
}
