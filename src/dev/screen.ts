// What `electord dev` shows: the picture as a list of lines, made from a view without looking at any
// clock, and the two ways to show it: redrawn in place on a terminal, or as plain lines that are added.
// Promises that a terminal is left as it was found, a crash included.
import { describeMs } from './observer.ts';
import { FAST_FAILOVER_MS } from './stage.ts';

/** One line of the table: a sidecar and the app beside it. */
export interface PlaceView {
  readonly id: string;
  readonly role: string;
  readonly sidecar: PartView;
  readonly app: PartView;
}

/** One process in the table. */
export interface PartView {
  readonly url: string;
  /** Null while it is dead. */
  readonly pid: number | null;
  /** Of a dead one: when it comes back, and what became of it. */
  readonly backInMs: number | null;
  readonly death: string | null;
}

/** All that the picture shows. */
export interface View {
  readonly etcd: { readonly version: string; readonly pid: number; readonly url: string };
  readonly leader: {
    readonly id: string;
    readonly since: Date;
    readonly ledForMs: number;
    readonly fencingToken: bigint;
    readonly claimLeftMs: number;
  } | null;
  /** How long nobody has led; 0 while someone does. */
  readonly leaderlessMs: number;
  readonly places: readonly PlaceView[];
  /** The latest last. */
  readonly history: readonly string[];
}

/** What a screen is written to; process.stdout is one. */
export type Output = NodeJS.WritableStream & {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
};

/** How many changes of the leader are shown. */
const HISTORY_LINES = 8;

/** The whole picture, top to bottom; no line has control characters in it. */
export function picture(view: View): string[] {
  return [
    `electord dev: three sidecars and three sample apps on etcd ${view.etcd.version}`,
    `(pid ${view.etcd.pid}, ${view.etcd.url})`,
    '',
    leaderLine(view),
    '',
    ...view.places.map((place) => placeLine(view, place)),
    '',
    ...adviceLines(view),
    '',
    'What happened',
    ...view.history.slice(-HISTORY_LINES).map((line) => `  ${line}`),
    '',
    'Ctrl-C stops everything and leaves nothing behind.',
  ];
}

function leaderLine({ leader, leaderlessMs }: View): string {
  if (leader === null) return `NOBODY LEADS, for ${describeMs(leaderlessMs)}`;
  return (
    `${leader.id} LEADS since ${clock(leader.since)} (${describeMs(leader.ledForMs)}), ` +
    `fencing token ${leader.fencingToken}, claim ${describeMs(leader.claimLeftMs)}`
  );
}

function placeLine(view: View, { id, role, sidecar, app }: PlaceView): string {
  const mark = view.leader?.id === id ? '>' : ' ';
  return `${mark} ${id}  ${role.padEnd(9)} sidecar ${partText(sidecar)}  app ${partText(app)}`;
}

function partText({ url, pid, backInMs, death }: PartView): string {
  if (pid !== null) return `${url} pid ${String(pid).padEnd(7)}`;
  if (death === null) return `${url} starting`;
  return `${url} DEAD (${death})${backInMs === null ? '' : `, back in ${describeMs(backInMs)}`}`;
}

/** What to try; also printed once where the screen is not redrawn. */
export function adviceLines(view: View): string[] {
  const place = view.places.find(({ id }) => id === view.leader?.id) ?? view.places[0];
  const other = view.places.find(({ id }) => id !== place?.id);
  const pid = place?.sidecar.pid ?? 0;
  return [
    // Of one that is not about to be killed.
    `Open ${(other ?? place)?.sidecar.url ?? ''}/ in a browser: the same, live`,
    'Try, in another terminal',
    `  curl -i ${place?.sidecar.url ?? ''}/leader            # who leads: 200 from the leader, else 503`,
    `  curl -i ${other?.sidecar.url ?? ''}/leader`,
    `  curl -iL ${other?.app.url ?? ''}/orders -d tea         # an order: 307 to the leader, which takes it`,
    'See the leader change',
    `  kill -9 ${String(pid).padEnd(8)} # the leader's sidecar dies: another leads once nothing was heard of it for ${FAST_FAILOVER_MS} ms`,
    `  kill ${String(pid).padEnd(11)} # it is asked to stop: hands over at once`,
    '  Whatever dies comes back by itself after 6 s, to be killed again.',
  ];
}

/** `21:00:03`, local time. */
export function clock(date: Date): string {
  return date.toTimeString().slice(0, 8);
}

/** Whether that output can be redrawn in place, and its reader wants it. */
export function canRedraw(output: Output, environment: NodeJS.ProcessEnv): boolean {
  const { NO_COLOR: noColor, TERM: term } = environment;
  return output.isTTY === true && (noColor ?? '') === '' && term !== 'dumb';
}

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';

/** A terminal that shows one picture, on a page of its own. */
export class Screen {
  readonly #output: Output;
  readonly #leave = (): void => {
    this.#output.write(LEAVE);
  };

  constructor(output: Output) {
    this.#output = output;
    output.write(ENTER);
    process.once('exit', this.#leave);
  }

  /** Shows these lines instead of what was there, cut to the size of the terminal. */
  show(lines: readonly string[]): void {
    const { columns = 80, rows = 24 } = this.#output;
    const drawn = lines.slice(0, rows - 1).map((line) => {
      const cut = line.slice(0, columns - 1);
      const isBold = line.includes(' LEADS') || line.includes('DEAD');
      return isBold ? `\x1b[1m${cut}\x1b[0m\x1b[K` : `${cut}\x1b[K`;
    });
    this.#output.write(`\x1b[H${drawn.join('\r\n')}\r\n\x1b[J`);
  }

  /** Gives the terminal back as it was. */
  close(): void {
    process.off('exit', this.#leave);
    this.#leave();
  }
}
