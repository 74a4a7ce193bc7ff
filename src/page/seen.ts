// What has happened since the page was opened, as a list, and read out to those who hear the page: each trouble once,
// and several things at once in one breath.
import type { Alarm } from './alarms.ts';
import { make, part, setHidden, setText } from './dom.ts';
import { timeWords } from './words.ts';

const linesAtMost = 40;
/** What comes within this is said together; a screen reader is not interrupted more often. */
const breathMs = 1500;

let waiting: string[] = [];
let breath: ReturnType<typeof setTimeout> | null = null;

function say(text: string): void {
  if (!waiting.includes(text)) waiting.push(text);
  breath ??= setTimeout(() => {
    breath = null;
    // More than a few would be noise; the list has them all.
    setText(part('say'), waiting.slice(-3).join(' '));
    waiting = [];
  }, breathMs);
}

/** Writes a line into the list, newest on top, and says it. */
export function noteSeen(text: string, wallMs: number, aloud = true): void {
  const list = part('seen-list');
  const time = make(
    'time',
    { datetime: new Date(wallMs).toISOString() },
    timeWords(wallMs, wallMs),
  );
  list.insertBefore(make('li', {}, time, ' ', make('span', {}, text)), list.children[0] ?? null);
  while (list.children.length > linesAtMost) list.children[linesAtMost]?.remove();
  setHidden(part('seen-nothing'), true);
  if (aloud) say(`${text}.`);
}

let known = new Set<string>();

/** Says what is wrong now and was not before. */
export function sayAlarms(alarms: readonly Alarm[]): void {
  for (const alarm of alarms) if (!known.has(alarm.key)) say(alarm.say);
  known = new Set(alarms.map(({ key }) => key));
}

/** Another election is looked at: the list begins anew. */
export function forgetSeen(): void {
  part('seen-list').replaceChildren();
  setHidden(part('seen-nothing'), false);
  known = new Set();
}
