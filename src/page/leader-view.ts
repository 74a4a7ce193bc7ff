// The head of the page: what is wrong, who leads since when and why, and the claim as a bar that shrinks and is refilled.
import type { TermOnWire } from '../contract.ts';
import { window, type PageElement } from './browser.ts';
import { alarmsOf, peerOfLeader, type Alarm } from './alarms.ts';
import { claimOf } from './claim.ts';
import { arrange, make, part, setData, setHidden, setText } from './dom.ts';
import type { Details, Knowledge } from './knowledge.ts';
import type { Standing } from './ranking.ts';
import { ageWords, durationWords, endSentence, gapWords, timeWords } from './words.ts';

const alarmItems = new Map<string, PageElement>();

function drawAlarms(alarms: readonly Alarm[]): void {
  const keys = new Set(alarms.map(({ key }) => key));
  for (const key of alarmItems.keys()) if (!keys.has(key)) alarmItems.delete(key);
  const items = alarms.map(({ key, tone, text }) => {
    const item = alarmItems.get(key) ?? make('li');
    alarmItems.set(key, item);
    setData(item, 'tone', tone);
    setText(item, text);
    return item;
  });
  arrange(part('alarms'), items);
  setHidden(part('alarms'), items.length === 0);
}

/** What a new term says of the time before it. */
function gapSentence(term: TermOnWire | undefined): string {
  const gap = term === undefined ? null : gapWords(term);
  return gap === null ? '' : ` Nobody led for ${gap}.`;
}

function whyOf({ history }: Details, leader: NonNullable<Standing['leader']>): string {
  const terms = history?.value.terms ?? [];
  const index = terms.findIndex(({ fencingToken }) => fencingToken === leader.fencingToken);
  if (index < 0) return '';
  const before = terms[index + 1];
  if (before === undefined) return 'The first term on record.';
  return `Because ${endSentence(before)}.${gapSentence(terms[index])}`;
}

function lastEnd({ history }: Details): string {
  const last = history?.value.terms[0];
  return last?.to === null || last === undefined ? '' : `${endSentence(last)}.`;
}

/** Draws everything but the bar; returns the alarms, for whoever reads them out. */
export function drawLeader(
  standing: Standing,
  details: Details,
  knowledge: Knowledge,
  stale: boolean,
): readonly Alarm[] {
  const wallNow = knowledge.wallNow();
  const alarms = alarmsOf(standing, details, {
    now: performance.now(),
    wallNow,
    health: knowledge.health,
  });
  const { leader, role, election } = standing;
  setText(part('name'), election);
  drawAlarms(alarms);
  const unknown = leader === null && role === 'unknown';
  setText(part('leader-id'), leader?.id ?? (unknown ? 'Not known' : 'Nobody'));
  setText(part('leader-verb'), unknown ? '' : stale ? 'led when last heard of' : 'leads');
  setData(part('leader-line'), 'tone', leader === null ? 'bad' : null);
  if (leader === null) {
    setText(part('leader-since'), lastEnd(details));
    setText(part('leader-why'), '');
    return alarms;
  }
  const since = Date.parse(leader.since);
  const age = ageWords(wallNow - since);
  const term = `fencing token ${leader.fencingToken}`;
  setText(part('leader-since'), `Since ${timeWords(since, wallNow)} (${age}), ${term}.`);
  setText(part('leader-why'), whyOf(details, leader));
  return alarms;
}

const calm = window as unknown as {
  readonly matchMedia: (query: string) => { readonly matches: boolean };
};
/** The bar then moves once in a second, without gliding. */
export const prefersCalm = (): boolean =>
  calm.matchMedia('(prefers-reduced-motion: reduce)').matches;

/** Called many times a second. */
export function drawLease(standing: Standing, details: Details): void {
  const claim = claimOf(standing, details, performance.now());
  setHidden(part('lease'), claim === null);
  if (claim === null) {
    const peer = peerOfLeader(details, standing);
    const why = peer?.state === 'cannot_be_asked' ? `: ${peer.detail ?? ''}` : '';
    setText(part('lease-text'), standing.leader === null ? '' : `Its lease cannot be seen${why}.`);
    return;
  }
  const { leftMs, ofMs, silent, isShort } = claim;
  const share = Math.min(1, leftMs / ofMs);
  part('lease-bar').style.setProperty('transform', `scaleX(${share.toFixed(3)})`);
  setData(part('lease'), 'tone', share < 0.35 ? 'bad' : silent || share < 0.55 ? 'warn' : 'ok');
  part('lease').setAttribute('aria-valuemax', String(ofMs / 1000));
  part('lease').setAttribute('aria-valuenow', (leftMs / 1000).toFixed(2));
  if (isShort) {
    setText(part('lease-text'), `Its claim of ${durationWords(ofMs)} is renewed all the time.`);
    return;
  }
  const of = `Its claim holds for ${(leftMs / 1000).toFixed(1)} s of ${ofMs / 1000} s`;
  setText(part('lease-text'), `${of}, ${silent ? 'and is not being renewed' : 'unless renewed'}.`);
}
