// What this folder needs of a log; the composition root hands in the real one.

/** One line at a time: fields first, then a sentence. Must not throw. */
export interface AppLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
