// A terminal that shows one picture, redrawn in place, on a page of its own. It leaves the terminal as it found it, a crash
// included.
import { mayColour } from './operator.ts';
import { rendered, type Line } from './table.ts';

const enter = '\x1b[?1049h\x1b[?25l';
const leave = '\x1b[?25h\x1b[?1049l';

export class OperatorScreen {
  readonly #output: NodeJS.WriteStream;
  readonly #leave = (): void => void this.#output.write(leave);

  constructor(output: NodeJS.WriteStream) {
    this.#output = output;
    output.write(enter);
    process.once('exit', this.#leave);
  }

  /** Whether a picture can be redrawn there at all. */
  static fits(output: NodeJS.WriteStream): boolean {
    return output.isTTY && process.env['TERM'] !== 'dumb';
  }

  /** Shows these lines instead of what was there, cut to the size of the terminal. */
  show(lines: readonly Line[]): void {
    // A terminal that does not know its size says 0, or nothing.
    const columns = this.#output.columns || 80;
    const rows = this.#output.rows || 24;
    const colours = mayColour(this.#output);
    const drawn = lines
      .slice(0, rows - 1)
      .map((line) => `${rendered(line, colours, columns - 1)}\x1b[K`);
    this.#output.write(`\x1b[H${drawn.join('\r\n')}\r\n\x1b[J`);
  }

  close(): void {
    process.off('exit', this.#leave);
    this.#leave();
  }
}
