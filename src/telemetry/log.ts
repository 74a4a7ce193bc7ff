// Only home of pino: one line per happening, JSON or for eyes, on a stream of this process (no worker threads). A line that
// cannot be written is lost, and nothing waits for one: see line-writer.ts.
// Secrets are kept out where lines are made; the redaction here is only the second line of defence.
import { isatty } from 'node:tty';
import { pino, stdTimeFunctions, type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { LineWriter } from './line-writer.ts';

export type Log = Logger;

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Somewhere a line can be written to. */
export interface LogDestination {
  write(line: string): unknown;
  /** Calls back once the lines so far are written or lost; in bounded time. */
  flush?(done: () => void): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: 'json' | 'pretty';
  /** A file descriptor or a stream; the standard output unless said otherwise. */
  readonly destination?: number | LogDestination;
}

const standardOutput = 1;

const secretNames = ['token', 'password', 'authorization', 'Authorization'];

/** A secret under one of these names is hidden, down to the third level: deeper objects are not logged here. */
const redacted = ['', '*.', '*.*.'].flatMap((above) => secretNames.map((name) => above + name));

/** Lines for eyes, handed on to where they are written. */
function prettified(to: LogDestination, colorize: boolean): LogDestination {
  const prettify = prettyFactory({
    singleLine: true,
    ignore: 'pid',
    translateTime: 'SYS:HH:MM:ss.l',
    colorize,
  });
  return { ...to, write: (line) => to.write(prettify(line)) };
}

/** No `flushSync`, which pino would call after a fatal line: it waits for the disk, and for ever. */
function linesTo(writer: LineWriter): LogDestination {
  return { write: (line) => writer.write(line), flush: (done) => writer.flush(done) };
}

/**
 * A log with ISO 8601 times and levels by name. Set its `level` to change it at run time: that does not reach
 * children made of it before, so make none that live long.
 */
export function createLog({ level, format, destination = standardOutput }: LogOptions): Log {
  const options = {
    level,
    base: { pid: process.pid },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: redacted, censor: '[redacted]' },
  };
  const toTerminal = typeof destination === 'number' && isatty(destination);
  const tellLost = (lines: number, why: string): void =>
    log.warn({ lines, why }, `up to ${lines} lines of the log could not be written: ${why}`);
  const lines =
    typeof destination === 'number' ? linesTo(new LineWriter(destination, tellLost)) : destination;
  const colours = toTerminal && !process.env['NO_COLOR'];
  const log = pino(options, format === 'pretty' ? prettified(lines, colours) : lines);
  return log;
}

/** Resolves once the lines so far are written or lost; in bounded time, and never rejects. */
export const flushed = (log: Log): Promise<void> =>
  new Promise((resolve) => {
    log.flush(() => resolve());
  });
