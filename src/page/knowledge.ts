// What the page knows: one standing for every election, all details of the one that is looked at, and the sidecar's
// clock. It takes in answers and says what changed; it asks for nothing and draws nothing.
import type {
  HealthAnswer,
  HistoryAnswer,
  LeadershipEvent,
  MembersAnswer,
  StatusAnswer,
} from '../contract.ts';
import type { Standing } from './ranking.ts';
import type { OverviewAnswer, OverviewRow, PeersFrame } from './wire.ts';

/** An answer and when it came, on the page's own monotonic clock. */
export interface Dated<Value> {
  readonly value: Value;
  readonly at: number;
}

/** All that is known of the election that is looked at; null before the first answer. */
export interface Details {
  readonly election: string;
  status: Dated<StatusAnswer> | null;
  members: Dated<MembersAnswer> | null;
  history: Dated<HistoryAnswer> | null;
  frame: Dated<PeersFrame> | null;
}

export class Knowledge {
  readonly standings = new Map<string, Standing>();
  details: Details | null = null;
  /** This sidecar's id and version; empty before the first answer. */
  instance = '';
  version = '';
  /** Its checks; null before the first answer. */
  health: HealthAnswer | null = null;
  /** Elections whose standing is another than when the list was drawn last. */
  readonly changed = new Set<string>();
  /** The term that leads each, as last heard of. */
  readonly #led = new Map<string, string | undefined>();
  readonly #now: () => number;
  readonly #wall: () => number;
  #aheadMs = 0;

  /** `now` is monotonic, `wall` the time of day; both in milliseconds. */
  constructor(now: () => number, wall: () => number) {
    this.#now = now;
    this.#wall = wall;
  }

  /** The sidecar's time of day, as near as its answers tell. */
  wallNow(): number {
    return this.#wall() + this.#aheadMs;
  }

  look(election: string | null): void {
    const nothing = { status: null, members: null, history: null, frame: null };
    this.details = election === null ? null : { election, ...nothing };
  }

  /** All parts of the page come from this one answer, so that none is of another moment than the next. */
  takeOverview({ id, version, at, health, elections, details }: OverviewAnswer): void {
    this.health = health;
    this.#setClock(at);
    // The answer may be to what nobody looks at any more; a sidecar of an older version says nothing of details.
    const { status, members } = details ?? {};
    if (this.details !== null && status?.election === this.details.election) {
      this.details.status = { value: status, at: this.#now() };
      this.details.members = members === undefined ? null : { value: members, at: this.#now() };
    }
    this.instance = id;
    this.version = version;
    const named = new Set(elections.map(({ election }) => election));
    for (const known of this.standings.keys()) if (!named.has(known)) this.standings.delete(known);
    for (const row of elections) {
      this.#put(row);
      this.#led.set(row.election, row.leader?.fencingToken);
    }
  }

  /**
   * Returns true where another leads than before. Of the election that is looked at nothing else is taken up: all about it
   * comes from one answer, which is to be asked for now.
   */
  takeEvent({ election, id, role, leader }: LeadershipEvent): boolean {
    this.instance = id;
    const before = this.standings.get(election);
    const token = leader?.fencingToken;
    const another = this.#led.has(election) && this.#led.get(election) !== token;
    this.#led.set(election, token);
    if (election === this.details?.election) return another;
    const nothing = { obstacle: null, candidates: 2, paused: false };
    const { obstacle, candidates, paused } = before ?? nothing;
    const shown = leader && {
      id: leader.id,
      fencingToken: leader.fencingToken,
      since: leader.since,
    };
    this.#put({ election, role, leader: shown, obstacle, candidates, paused });
    return another;
  }

  takeFrame(frame: PeersFrame): void {
    this.#setClock(frame.at);
    if (this.details?.election !== frame.election) return;
    this.details.frame = { value: frame, at: this.#now() };
    const standing = this.standings.get(frame.election);
    if (standing === undefined || standing.twoClaims?.join() === frame.twoClaims?.join()) return;
    this.standings.set(frame.election, { ...standing, twoClaims: frame.twoClaims });
    this.changed.add(frame.election);
  }

  #setClock(at: string): void {
    const aheadMs = Date.parse(at) - this.#wall();
    // An answer on the way makes it look late by less than this; a clock that is right stays alone.
    this.#aheadMs = Math.abs(aheadMs) < 1000 ? 0 : aheadMs;
  }

  #put(row: OverviewRow): void {
    const before = this.standings.get(row.election);
    const now = this.wallNow();
    const another = before !== undefined && isAnother(before, row.leader);
    const since = before?.leaderlessSince ?? now;
    const after: Standing = {
      ...row,
      leaderlessSince: row.leader === null ? since : null,
      // One that comes back after a silence of our own is no change.
      changedAt: another ? now : (before?.changedAt ?? null),
      changes: (before?.changes ?? 0) + (another && row.leader !== null ? 1 : 0),
      twoClaims: before?.twoClaims ?? null,
    };
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(after)) return;
    this.standings.set(row.election, after);
    this.changed.add(row.election);
  }
}

const isAnother = ({ leader }: Standing, other: OverviewRow['leader']): boolean =>
  leader?.fencingToken !== other?.fencingToken;
