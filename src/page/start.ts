// Puts the page together: what is looked at, what is drawn when, and the mark that says how fresh it all is. Drawing is
// done at most once a frame, and only what has changed or grows with time.
import { document, window } from './browser.ts';
import { happenings } from './alarms.ts';
import { Connection } from './connection.ts';
import { part, setData, setHidden, setText } from './dom.ts';
import type { Freshness } from './freshness.ts';
import { Knowledge, type Details } from './knowledge.ts';
import { drawLease, drawLeader, prefersCalm } from './leader-view.ts';
import { ListView } from './list-view.ts';
import { drawMembers } from './members-view.ts';
import { presentOf, type Present } from './present.ts';
import { leaderWords, type Standing } from './ranking.ts';
import { forgetSeen, noteSeen, sayAlarms } from './seen.ts';
import { drawSidecar } from './sidecar-view.ts';
import { drawTerms, forgetTerms, listenToTerms } from './timeline-view.ts';
import { ageWords } from './words.ts';

/** What the operator's verbs need of the page, and the page of them. */
export interface VerbsContext {
  readonly knowledge: Knowledge;
  readonly refresh: () => void;
}
export type Verbs = (context: VerbsContext) => { readonly draw: () => void };

/** How often freshness is looked at: a part of the half second in which a silence must be seen. */
const beatMs = 50;
/** In beats: the bar glides between its steps; silences count in tenths of a second; ages and the list in seconds. */
const barEvery = 4;
const calmBarEvery = 20;
const membersEvery = 4;
const agesEvery = 20;
/** The list of a thousand is sorted at most this often, in beats. */
const listEvery = 5;
/** A page that nobody has looked at for so long lets its sidecar rest. */
const asleepAfterMs = 30_000;

const knowledge = new Knowledge(
  () => performance.now(),
  () => Date.now(),
);

/** The election in the address; null where it names none that is known. */
function chosen(): string | null {
  const { hash } = window.location;
  const { standings } = knowledge;
  if (standings.size === 1) return [...standings.keys()][0] ?? null;
  // The link that skips to the election names a place on the page.
  if (hash === '#main') return knowledge.details?.election ?? null;
  if (!hash.startsWith('#/') || hash === '#/') return null;
  try {
    const name = decodeURIComponent(hash.slice(2));
    return standings.has(name) ? name : null;
  } catch {
    return null;
  }
}

const standing = (): Standing | null =>
  knowledge.details === null ? null : (knowledge.standings.get(knowledge.details.election) ?? null);

class Page {
  readonly #connection: Connection;
  readonly #list: ListView;
  readonly #verbs: ReturnType<Verbs> | null;
  #beats = 0;
  #planned = false;
  #termsOf: unknown = null;
  #newest: Present['newest'] | null = null;
  #level: Freshness = 'connecting';
  #staleSaid = false;
  #asleep: ReturnType<typeof setTimeout> | undefined;

  constructor(verbs: Verbs | null) {
    this.#connection = new Connection(document.body.dataset['build'] ?? '', knowledge, {
      learnt: () => this.#plan(),
      elected: ({ election, role, leader, cause }) => {
        if (election !== knowledge.details?.election) return;
        const nobody = role === 'unknown' ? 'it is not known who leads' : 'nobody leads';
        const who = leader === null ? nobody : `${leader.id} leads`;
        const why = cause === 'unknown' ? '' : ` (${cause.replaceAll('_', ' ')})`;
        noteSeen(`${who}${why}`, knowledge.wallNow());
      },
      framed: (frame) => {
        const before = knowledge.details?.frame?.value ?? null;
        for (const text of happenings(before, frame)) {
          // What is wrong is said once already, as an alarm.
          noteSeen(text, knowledge.wallNow(), text.endsWith('again'));
        }
      },
    });
    this.#list = new ListView(knowledge, () => this.#drawList());
    this.#verbs = verbs?.({ knowledge, refresh: () => this.#connection.refresh() }) ?? null;
    listenToTerms(() => this.#drawTerms());
  }

  begin(): void {
    this.#connection.follow();
    window.addEventListener('hashchange', () => this.#plan());
    window.addEventListener('resize', () => this.#drawTerms());
    document.addEventListener('visibilitychange', () => this.#watched());
    setInterval(() => this.#beat(), beatMs);
    // It may have been opened behind others, and never be looked at.
    if (document.hidden) this.#watched();
  }

  #watched(): void {
    clearTimeout(this.#asleep);
    if (!document.hidden) {
      this.#connection.wake();
      this.#plan();
      return;
    }
    this.#asleep = setTimeout(() => {
      this.#connection.sleep();
      document.title = 'electord (asleep)';
    }, asleepAfterMs);
  }

  /** Draws what was learnt, with the next frame; where nobody looks, once somebody does. */
  #plan(): void {
    if (this.#planned || document.hidden) return;
    this.#planned = true;
    window.requestAnimationFrame(() => {
      this.#planned = false;
      this.#look();
      this.#draw();
    });
  }

  /** Turns to the election in the address, once it is known. */
  #look(): void {
    const election = chosen();
    if (election === (knowledge.details?.election ?? null)) return;
    knowledge.look(election);
    forgetSeen();
    forgetTerms();
    this.#termsOf = null;
    this.#connection.follow();
    if (knowledge.standings.size > 1) {
      this.#drawList();
      if (election !== null) part('main').focus();
    }
  }

  #draw(): void {
    const many = knowledge.standings.size > 1;
    const { details } = knowledge;
    const shown = standing();
    setData(document.body, 'view', many ? (shown === null ? 'list' : 'both') : 'one');
    setHidden(part('elections'), !many);
    setHidden(part('back'), !many);
    setHidden(part('details'), shown === null);
    setHidden(part('nothing'), shown !== null);
    setText(
      part('nothing'),
      many
        ? 'Choose an election to see who stands in it.'
        : 'Waiting for the first word from this sidecar.',
    );
    setText(part('instance'), `as seen by ${knowledge.instance}`);
    if (shown === null || details === null) {
      document.title = many ? `electord: ${knowledge.standings.size} elections` : 'electord';
      return;
    }
    document.title = `${shown.election}: ${leaderWords(shown)}`;
    sayAlarms(drawLeader(shown, details, knowledge, this.#level === 'stale'));
    drawLease(shown, details);
    drawMembers(details);
    drawSidecar(details, knowledge);
    this.#verbs?.draw();
    const present = this.#present(details);
    if (this.#termsOf !== details.history || this.#newest !== present.newest) this.#drawTerms();
  }

  #drawTerms(): void {
    const { details } = knowledge;
    if (details === null || part('details').hidden) return;
    this.#termsOf = details.history;
    const present = this.#present(details);
    this.#newest = present.newest;
    drawTerms(details, knowledge, present);
  }

  #present(details: Details): Present {
    const staleForMs = this.#level === 'stale' ? this.#connection.ageMs() : null;
    const moment = { now: performance.now(), wallNow: knowledge.wallNow(), staleForMs };
    return presentOf(standing(), details, moment);
  }

  #drawList(): void {
    knowledge.changed.clear();
    this.#list.draw(knowledge.details?.election ?? null);
  }

  #beat(): void {
    this.#beats += 1;
    this.#mark();
    if (document.hidden) return;
    const due = (every: number): boolean => this.#beats % every === 0;
    const { details } = knowledge;
    const shown = standing();
    const aged = due(agesEvery);
    if (knowledge.standings.size > 1 && (aged || (due(listEvery) && knowledge.changed.size > 0))) {
      this.#drawList();
    }
    if (shown === null || details === null) return;
    if (due(prefersCalm() ? calmBarEvery : barEvery)) drawLease(shown, details);
    if (due(membersEvery)) drawMembers(details);
    if (!aged) return;
    this.#draw();
    // The newest term grows, and with it the picture; nobody's focus is in it.
    this.#drawTerms();
  }

  /** The mark in the head, and the banner where what is shown may be wrong. */
  #mark(): void {
    const level = this.#connection.freshness();
    const ageMs = this.#connection.ageMs();
    if (level === 'live' && this.#level === 'live') return;
    if (level === 'live' && this.#staleSaid) {
      noteSeen('this page is up to date again', knowledge.wallNow());
      this.#staleSaid = false;
    }
    // All parts say so together.
    if ((level === 'stale') !== (this.#level === 'stale')) this.#plan();
    this.#level = level;
    setData(part('fresh'), 'level', level);
    setData(document.body, 'level', level);
    const age = ageMs === null ? '' : ` for ${(ageMs / 1000).toFixed(1)} s`;
    const words = { connecting: 'connecting', live: 'live', quiet: `no word${age}` };
    setText(part('fresh-text'), level === 'stale' ? 'out of date' : words[level]);
    setHidden(part('stale'), level !== 'stale');
    if (level !== 'stale') return;
    this.#staleSaid = true;
    // Read out once; how long it lasts is for the eyes, in an element of its own.
    setText(part('stale-why'), 'This page is out of date: its sidecar does not answer. ');
    setText(
      part('stale-since'),
      `Last word ${ageMs === null ? 'never' : `${ageWords(ageMs)} ago`}.`,
    );
  }
}

export function start(verbs: Verbs | null): void {
  new Page(verbs).begin();
}
