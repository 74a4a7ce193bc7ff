// Takes a stream of server-sent events apart, however it was cut into pieces. Pure; keeps no more than one event.
import { UnusableAnswer } from './errors.ts';

/** One event; `name` is `message` where the stream names none. */
export interface ServerSentEvent {
  readonly name: string;
  readonly id: string | null;
  readonly data: string;
}

/** An event of ours has some 500 bytes; what is longer than this is not one. */
const longestEvent = 65_536;

export class EventReader {
  #rest = '';
  #name = 'message';
  #id: string | null = null;
  #data: string[] = [];

  /**
   * The events that this piece of text completes.
   *
   * @throws UnusableAnswer when an event does not end.
   */
  take(piece: string): readonly ServerSentEvent[] {
    const lines = (this.#rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? '';
    const events: ServerSentEvent[] = [];
    for (const line of lines) {
      if (line === '') {
        if (this.#data.length > 0) events.push(this.#event());
        this.#name = 'message';
        this.#data = [];
      } else this.#field(line);
    }
    const kept = this.#rest.length + this.#data.reduce((sum, line) => sum + line.length, 0);
    if (kept > longestEvent) throw new UnusableAnswer('an event of the sidecar does not end');
    return events;
  }

  #event(): ServerSentEvent {
    return { name: this.#name, id: this.#id, data: this.#data.join('\n') };
  }

  /** `name: value`; a line that begins with a colon is a comment. */
  #field(line: string): void {
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#name = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id') this.#id = value;
  }
}
