// `electord dev` without `--once`: shows who leads for as long as the person likes, and tells what
// happens. It only looks; the stage restarts what dies.
import { describeMs, type Observer, type Reign } from './observer.ts';
import {
  adviceLines,
  beginning,
  canRedraw,
  clock,
  picture,
  Screen,
  type Output,
  type PartView,
  type View,
} from './screen.ts';
import { describeExit, lastWords, type Part, type Stage, type StageEvent } from './stage.ts';

/** How often the picture is drawn; times are what moves. */
const REDRAW_MS = 250;

/** The show; events are given to it, `close` ends it. */
export class Live {
  readonly #stage: Stage;
  readonly #output: Output;
  readonly #screen: Screen | null;
  readonly #history: string[] = [];
  readonly #beganMs = performance.now();
  readonly #timer: NodeJS.Timeout | null;
  #observer: Observer | null = null;

  constructor(stage: Stage, output: Output, environment: NodeJS.ProcessEnv) {
    this.#stage = stage;
    this.#output = output;
    this.#screen = canRedraw(output, environment) ? new Screen(output) : null;
    this.#timer =
      this.#screen === null
        ? null
        : setInterval(() => {
            this.#draw();
          }, REDRAW_MS);
  }

  /** From now on there is someone to ask. */
  observe(observer: Observer): void {
    this.#observer = observer;
  }

  onReign(reign: Reign): void {
    const { place, fencingToken, previous } = reign;
    const before = beforeOf(reign);
    const gap =
      before === null
        ? ''
        : `; nobody led for at most ${describeMs(before.gapMs)} after ${before.id}`;
    this.#tell(`${place.id} leads, fencing token ${fencingToken}${gap}`);
    if (this.#screen !== null) return;
    if (previous === null) {
      this.#output.write(`${adviceLines(this.#view(), Infinity).join('\n')}\n`);
    } else
      this.#output.write(
        `          (kill -9 ${place.sidecar.child?.pid ?? 0} to see it fail over)\n`,
      );
  }

  onEvent(event: StageEvent): void {
    const { part } = event;
    const pid = part.child?.pid ?? 0;
    if (event.kind === 'returned') {
      this.#tell(`${part.name} is back (pid ${pid})`);
      return;
    }
    const reason =
      event.exit.code === 0 || event.exit.signal !== null ? undefined : lastWords(part, 1);
    const what = `${part.name} (pid ${pid}) died: ${describeExit(event.exit)}`;
    this.#tell(reason === undefined ? what : `${what}, ${reason}`);
  }

  /** A line about the work in progress, before there is a picture. */
  note(line: string): void {
    if (this.#screen === null) this.#output.write(`${line}\n`);
    else this.#history.push(line);
  }

  /** Gives the terminal back; the history stays to be read. */
  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#screen === null) return;
    this.#screen.close();
    this.#output.write(this.#history.map((line) => `${line}\n`).join(''));
  }

  #tell(line: string): void {
    const dated = `${clock(new Date())}  ${line}`;
    this.#history.push(dated);
    if (this.#screen === null) this.#output.write(`${dated}\n`);
    else this.#draw();
  }

  #draw(): void {
    this.#screen?.show((rows, columns) =>
      this.#observer === null
        ? beginning(this.#history, rows, columns)
        : picture(this.#view(), rows, columns),
    );
  }

  #view(): View {
    const now = performance.now();
    const { etcd, places } = this.#stage;
    const reign = this.#observer?.reign ?? null;
    const answer = reign === null ? null : this.#observer?.answerOf(reign.place);
    const isLed = answer?.isLeader === true;
    return {
      etcd: { ...partView(etcd, now), version: etcd.version },
      leader:
        reign === null || !isLed
          ? null
          : {
              id: reign.place.id,
              since: reign.since,
              ledForMs: now - reign.firstSeenMs,
              fencingToken: reign.fencingToken,
              claimLeftMs: Math.max(0, answer.sentAtMs + answer.validForMs - now),
              before: beforeOf(reign),
            },
      leaderlessMs: isLed ? 0 : now - (reign?.lastSeenMs ?? this.#beganMs),
      places: places.map((place) => ({
        id: place.id,
        role: this.#observer?.answerOf(place)?.role ?? 'silent',
        sidecar: partView(place.sidecar, now),
        app: partView(place.app, now),
      })),
      history: this.#history,
    };
  }
}

function beforeOf({ previous, firstSeenMs }: Reign): NonNullable<View['leader']>['before'] {
  return previous && { id: previous.id, gapMs: firstSeenMs - previous.lastSeenMs };
}

function partView({ url, child, restartAtMs }: Part, now: number): PartView {
  const exit = child?.exit() ?? null;
  return {
    url,
    pid: exit === null ? (child?.pid ?? null) : null,
    backInMs: restartAtMs === null ? null : Math.max(0, restartAtMs - now),
    death: exit === null ? null : describeExit(exit),
  };
}
