// Only home of pino: one line per happening, JSON or for eyes, on a stream of this process (no worker threads).
// Secrets are kept out where lines are made; the redaction here is only the second line of defence.
import { isatty } from 'node:tty';
import { destination as fileDestination, pino, stdTimeFunctions, type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';

export type Log = Logger;

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Somewhere a line can be written to. */
export interface LogDestination {
  write(line: string): unknown;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: 'json' | 'pretty';
  /** A file descriptor or a stream; the standard output unless said otherwise. */
  readonly destination?: number | LogDestination;
}

const standardOutput = 1;

/** What a reader of the log that has stopped reading may cost in memory; lines beyond it are lost. */
const mostWaitingBytes = 8 * 1024 * 1024;

const secretNames = ['token', 'password', 'authorization', 'Authorization'];

/** A secret under one of these names is hidden, down to the third level: deeper objects are not logged here. */
const redacted = ['', '*.', '*.*.'].flatMap((above) => secretNames.map((name) => above + name));

function jsonStream(destination: number | LogDestination): LogDestination {
  if (typeof destination !== 'number') return destination;
  // Not synchronous: a reader that stalls must not stall renewals. What waits is written when the process exits.
  return fileDestination({
    dest: destination,
    sync: false,
    minLength: 0,
    maxLength: mostWaitingBytes,
  });
}

/** Synchronous, since a person reads it while it happens; it is not meant for production. */
function prettyStream(destination: number | LogDestination): LogDestination {
  const toTerminal = typeof destination === 'number' && isatty(destination);
  const prettify = prettyFactory({
    singleLine: true,
    ignore: 'pid',
    translateTime: 'SYS:HH:MM:ss.l',
    colorize: toTerminal && !process.env['NO_COLOR'],
  });
  const output =
    typeof destination === 'number'
      ? fileDestination({ dest: destination, sync: true })
      : destination;
  return { write: (line) => output.write(prettify(line)) };
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
  return pino(options, format === 'pretty' ? prettyStream(destination) : jsonStream(destination));
}
