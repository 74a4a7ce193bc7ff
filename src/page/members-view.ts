// The members: what etcd has of each, and what it says itself when this page's sidecar asks it.
import type { MemberOnWire } from '../contract.ts';
import { silentMs } from './alarms.ts';
import type { PageElement } from './browser.ts';
import { arrange, make, part, setData, setHidden, setText } from './dom.ts';
import type { Details } from './knowledge.ts';
import type { PeerOnWire } from './wire.ts';
import { appWord, durationWords } from './words.ts';

interface Row {
  readonly row: PageElement;
  readonly id: PageElement;
  readonly address: PageElement;
  readonly role: PageElement;
  readonly roleMore: PageElement;
  readonly word: PageElement;
  readonly wordMore: PageElement;
  readonly app: PageElement;
  readonly appMore: PageElement;
}

const rows = new Map<string, Row>();

function newRow(): Row {
  const strong = make('strong');
  const small = (): PageElement => make('small');
  const parts = { id: strong, address: small(), role: make('b'), roleMore: small() };
  const more = { word: make('b'), wordMore: small(), app: make('b'), appMore: small() };
  const cell = (label: string, ...content: PageElement[]): PageElement =>
    make('span', { role: 'cell', 'data-label': label }, ...content);
  const row = make(
    'div',
    { class: 'row', role: 'row' },
    cell('Member', parts.id, parts.address),
    cell('Role in etcd', parts.role, parts.roleMore),
    cell('Its own word', more.word, more.wordMore),
    cell('App', more.app, more.appMore),
  );
  return { row, ...parts, ...more };
}

type Word = readonly [tone: 'ok' | 'warn' | 'bad' | 'dim', text: string];

function wordOf(peer: PeerOnWire | undefined, frameAt: number, now: number): Word {
  switch (peer?.state) {
    case undefined:
    case 'asking':
      return ['dim', 'asking'];
    case 'self':
      return ['ok', 'serves this page'];
    case 'answers':
      return ['ok', 'answers'];
    case 'silent':
      return ['bad', `silent for ${durationWords(silentMs(peer, frameAt, now))}`];
    case 'cannot_be_asked':
      return ['dim', 'cannot be asked'];
  }
}

/** A member hears of etcd every fifth of the TTL; half a TTL without is trouble in the making. */
const staleShare = 0.5;

function wordMoreOf(peer: PeerOnWire | undefined, ttlMs: number): string {
  if (peer === undefined || peer.role === null) return peer?.detail ?? '';
  const { state, detail, role, claim, observedAgeMs, roundTripMs } = peer;
  if (state === 'silent' || state === 'cannot_be_asked') return detail ?? '';
  const claims = claim === null ? role : `claims term ${claim.fencingToken}`;
  const stale = observedAgeMs !== null && observedAgeMs > ttlMs * staleShare;
  const heard = stale ? `no word from etcd for ${durationWords(observedAgeMs)}` : null;
  const trip = roundTripMs === null ? null : `in ${roundTripMs} ms`;
  return [claims, heard ?? trip].filter((one) => one !== null).join(', ');
}

const roleWords = ({ role, place }: MemberOnWire): string =>
  role === 'candidate' && place !== null ? `candidate, place ${place}` : role;

const listed = (parts: readonly (string | null)[]): string =>
  parts.filter((one) => one !== null && one !== '').join(' · ');

function drawRow(row: Row, key: string, details: Details): void {
  const { frame, members, status } = details;
  const peer = frame?.value.peers.find((each) => keyOf(each) === key);
  const member = members?.value.members.find((each) => keyOf(each) === key);
  const ttlMs = status?.value.ttlMs ?? Infinity;
  const now = performance.now();
  setText(row.id, member?.id ?? peer?.id ?? '');
  setText(row.address, member?.address ?? '');
  setText(row.role, member === undefined ? '' : roleWords(member));
  setData(row.role, 'tone', member?.role === 'leader' ? 'leader' : null);
  const { role = null, fencingToken = null, priority = 0, native = true } = member ?? {};
  const token = role === 'leader' && fencingToken !== null ? `term ${fencingToken}` : null;
  const rank = priority === 0 ? null : `priority ${priority}`;
  setText(row.roleMore, listed([token, rank, native ? null : 'another program']));
  const [tone, word] = wordOf(peer, frame?.at ?? now, now);
  const stale = (peer?.observedAgeMs ?? 0) > ttlMs * staleShare && tone === 'ok';
  setText(row.word, word);
  setData(row.word, 'tone', stale ? 'warn' : tone);
  setText(row.wordMore, wordMoreOf(peer, ttlMs));
  const app = appWord(member);
  setText(row.app, app.text);
  setText(row.appMore, typeof member?.version === 'string' ? `electord ${member.version}` : '');
  setData(row.app, 'tone', app.tone);
  setData(row.row, 'word', peer?.state ?? null);
  setData(row.row, 'member', member?.id ?? peer?.id ?? null);
}

const keyOf = ({ id, leaseId }: { readonly id: string; readonly leaseId: string }): string =>
  `${leaseId} ${id}`;

/** Called several times a second: silences grow. */
export function drawMembers(details: Details): void {
  const { frame, members } = details;
  const present = [...(frame?.value.peers ?? []), ...(members?.value.members ?? [])];
  // Once frames come, they say who is there: they are never older.
  const shown = frame === null ? present : frame.value.peers;
  const keys = [...new Set(shown.map(keyOf))];
  for (const key of rows.keys()) if (!keys.includes(key)) rows.delete(key);
  const drawn = keys.map((key) => {
    const row = rows.get(key) ?? newRow();
    rows.set(key, row);
    drawRow(row, key, details);
    return row.row;
  });
  arrange(part('members-rows'), drawn);
  const left = frame?.value.notAsked ?? 0;
  const empty = keys.length === 0;
  setHidden(part('members-note'), left === 0 && !empty);
  const beyond = `${left} more are neither listed nor asked: this page follows at most 50.`;
  setText(part('members-note'), empty ? 'Nobody is known to be a member.' : beyond);
}
