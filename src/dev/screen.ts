// What `electord dev` shows: the picture as a list of lines, made from a view without looking at any
// clock, and the two ways to show it: redrawn in place on a terminal, or as plain lines that are added.
// Promises that a terminal is left as it was found, a crash included.
import { describeMs } from './observer.ts';
import { FAST_FAILOVER_MS, RESTART_AFTER_MS } from './stage.ts';

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
  readonly etcd: PartView & { readonly version: string };
  readonly leader: {
    readonly id: string;
    readonly since: Date;
    readonly ledForMs: number;
    readonly fencingToken: bigint;
    readonly claimLeftMs: number;
    /** The latest failover or hand-over: who led before it, and how long nobody did at most. */
    readonly before: { readonly id: string; readonly gapMs: number } | null;
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

/** So many lines of what happened are shown before anything but the leader is. */
const NEWS_AT_LEAST = 4;
/** A process that dies may have said a lot; all of it stands there when the show is over. */
const LINES_PER_NEWS = 2;
/** The time and what follows it. */
const NEWS_INDENT = ' '.repeat(10);

/**
 * The whole picture for a terminal of that size, top to bottom: the leader and the latest change of it always, what happened
 * with the newest last, the processes, how to end, what to try; of the last as much as there is room for. It leaves the last
 * row and column free, and no line has control characters in it.
 */
export function picture(view: View, rows: number, columns: number): string[] {
  const width = columns - 1;
  const news = newsLines(view.history, width);
  const leader = leaderLines(view).flatMap((line) => wrapped(line, width, '  '));
  const newsAtLeast = Math.min(news.length, NEWS_AT_LEAST);
  let left = rows - 1 - leader.length - newsAtLeast;
  const whatFits = (lines: readonly string[]): readonly string[] => {
    const some = lines.slice(0, Math.max(0, left));
    left -= some.length;
    return some;
  };
  const table = whatFits(['', ...tableLines(view, width)]);
  const ending = whatFits(['electord dev; Ctrl-C ends it and leaves nothing behind']);
  const space = whatFits(['']);
  const advice = whatFits(['', ...adviceLines(view, width)]);
  const newest = news.slice(Math.max(0, news.length - newsAtLeast - left));
  return [...ending, ...leader, ...table, ...advice, ...space, ...newest]
    .slice(0, Math.max(0, rows - 1))
    .map((line) => line.slice(0, width));
}

/** What happens before there is anything to make a picture of. */
export const beginning = (history: readonly string[], rows: number, columns: number): string[] => {
  const news = newsLines(history, columns - 1);
  return ['electord dev is starting', '', ...news.slice(Math.max(0, news.length - rows + 3))];
};

const newsLines = (history: readonly string[], width: number): string[] =>
  history.flatMap((line) => wrapped(line, width, NEWS_INDENT).slice(0, LINES_PER_NEWS));

/** Cut between words into lines of that width, all but the first indented; what is longer than a line is cut where it ends. */
function wrapped(text: string, width: number, indent: string): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width && width > indent.length) {
    const space = rest.lastIndexOf(' ', width);
    const end = space > indent.length ? space : width;
    lines.push(rest.slice(0, end));
    rest = indent + rest.slice(end).trimStart();
  }
  return [...lines, rest];
}

function leaderLines({ leader, leaderlessMs }: View): string[] {
  if (leader === null) return [`NOBODY LEADS, for ${describeMs(leaderlessMs)}`];
  const { id, since, ledForMs, fencingToken, claimLeftMs, before } = leader;
  const led = `${id} LEADS since ${clock(since)} (${describeMs(ledForMs)})`;
  const lines = [`${led}, fencing token ${fencingToken}, claim ${describeMs(claimLeftMs)}`];
  if (before !== null) {
    lines.push(`  ${before.id} led before; nobody for at most ${describeMs(before.gapMs)} between`);
  }
  return lines;
}

/** Before the processes of a place: mark, id and role. */
const PLACE_WIDTH = 20;
/** Of the widest text: `:65535 DEAD, back in 5.9 s`. */
const PART_WIDTH = 26;
/** Of the widest text where there is less room: `:65535 pid 4194304`. */
const NARROW_PART_WIDTH = 18;

/** A line a place, and one for etcd. The addresses are ports of 127.0.0.1. */
function tableLines(view: View, width: number): string[] {
  const isNarrow = width < PLACE_WIDTH + 2 * PART_WIDTH + 2;
  const partWidth = isNarrow ? NARROW_PART_WIDTH : PART_WIDTH;
  const row = (mark: string, id: string, role: string, first: string, second: string): string =>
    `${mark} ${id.padEnd(7)} ${role.padEnd(9)} ${first.padEnd(partWidth)}  ${second}`.trimEnd();
  const part = (one: PartView): string => partText(one, isNarrow);
  return [
    row(' ', 'MEMBER', 'ROLE', 'SIDECAR', 'APP'),
    ...view.places.map(({ id, role, sidecar, app }) =>
      row(view.leader?.id === id ? '>' : ' ', id, role, part(sidecar), part(app)),
    ),
    row(' ', 'etcd', view.etcd.version, part(view.etcd), ''),
  ];
}

function partText({ url, pid, backInMs, death }: PartView, isNarrow: boolean): string {
  const at = `:${new URL(url).port}`;
  if (pid !== null) return `${at} pid ${pid}`;
  if (death === null) return `${at} starting`;
  if (backInMs === null) return `${at} DEAD`;
  return `${at} DEAD${isNarrow ? '' : ', back in'} ${describeMs(backInMs)}`;
}

/** What to try, the best first; also printed once where the screen is not redrawn. */
export function adviceLines(view: View, width: number): string[] {
  const leads = view.places.find(({ id }) => id === view.leader?.id);
  const follows = view.places.find(({ id, sidecar }) => id !== leads?.id && sidecar.pid !== null);
  const back = `Whatever dies comes back after ${RESTART_AFTER_MS / 1000} s, etcd too`;
  // Of one that is not about to be killed.
  const page = `Open ${(follows ?? view.places[0])?.sidecar.url ?? ''}/ in a browser: the same, live`;
  const pid = leads?.sidecar.pid ?? null;
  if (leads === undefined || follows === undefined || pid === null) return [page, back];
  /** What the command does is left out where it does not fit. */
  const command = (text: string, why: string): string => {
    const whole = `  ${text.padEnd(16)}  # ${why}`;
    return whole.length > width ? `  ${text}` : whole;
  };
  return [
    page,
    'See the leader change, by another terminal',
    command(`kill -9 ${pid}`, `it dies; another leads after ${FAST_FAILOVER_MS} ms of silence`),
    command(`kill ${pid}`, 'it is asked to stop, and hands over'),
    `  ${back}`,
    command(`curl -i ${leads.sidecar.url}/leader`, '200: it leads'),
    command(`curl -i ${follows.sidecar.url}/leader`, '503: it follows'),
    command(`curl -iL ${follows.app.url}/orders -d tea`, 'sent on to the leader'),
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

  /** Shows what is drawn for the terminal's size instead of what was there. */
  show(draw: (rows: number, columns: number) => readonly string[]): void {
    const { columns = 80, rows = 24 } = this.#output;
    const drawn = draw(rows, columns).map((line) => {
      const isBold = line.includes(' LEADS') || line.includes('DEAD');
      return isBold ? `\x1b[1m${line}\x1b[0m\x1b[K` : `${line}\x1b[K`;
    });
    this.#output.write(`\x1b[H${drawn.join('\r\n')}\r\n\x1b[J`);
  }

  /** Gives the terminal back as it was. */
  close(): void {
    process.off('exit', this.#leave);
    this.#leave();
  }
}
