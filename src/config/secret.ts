// A text that must not be seen. It prints as '[secret]' wherever a value can end up by accident (log
// line, error, JSON, util.inspect, template literal); only an explicit reveal() gives the text back. It
// does not protect against a memory dump.

/** What stands in the place of a secret, in every output. */
export const hidden = '[secret]';

/** Holds a password, a token or a private key, and shows `[secret]` to everybody who does not ask. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
    Object.freeze(this);
  }

  /** The text itself: call this only where it is handed to etcd, to TLS or to a comparison. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return hidden;
  }

  toJSON(): string {
    return hidden;
  }

  [Symbol.toPrimitive](): string {
    return hidden;
  }

  // The registered symbol is util.inspect.custom; naming it so spares an import of node:util.
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return hidden;
  }
}
