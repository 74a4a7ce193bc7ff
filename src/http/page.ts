// The status page under `/` for a browser, and what it alone asks for: `/peers` and `/overview`. The page is one document
// that loads nothing else; what it may run is named by hash, and only the page of the local listener has the code of the
// operator's verbs. Without scripts a browser shows a plain table.
import { createHash } from 'node:crypto';
import type { LeaderAnswer } from '../contract.ts';
import type { ElectionName } from '../core/model.ts';
import type { OverviewAnswer, OverviewRow } from '../page/wire.ts';
import { electionsAnswer, leaderOnWire } from './answers.ts';
import { json, soleElection, type Asked, type Reply } from './exchange.ts';
import type { Inputs } from './inputs.ts';
import { healthAnswer } from './health.ts';
import { quoted, Refusal } from './problems.ts';

/** The parts of the page as scripts/bundle/page.mjs makes them from src/page. */
interface PageParts {
  readonly html: string;
  readonly style: string;
  readonly publicScript: string;
  readonly localScript: string;
}

/** Put in by scripts/build.mjs; does not exist where the sources run as they are (tests). */
declare const __ELECTORD_PAGE__: PageParts | undefined;

async function partsOfTheCheckout(): Promise<PageParts> {
  const maker = new URL('../../scripts/bundle/page.mjs', import.meta.url).href;
  const { pageParts } = (await import(maker)) as { pageParts: () => PageParts };
  return pageParts();
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escaped = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (character) => entities[character] ?? '');

const hashOf = (text: string): string =>
  `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** All of the page but what is so right now, and the header that says what it may do: nothing else. */
interface Template {
  readonly before: string;
  readonly after: string;
  readonly headers: Readonly<Record<string, string>>;
}

function templateOf({ html, style }: PageParts, script: string): Template {
  const [before = '', after = ''] = html
    .replace('<!--style-->', () => `<style>${style}</style>`)
    .replace('<!--script-->', () => `<script type="module">${script}</script>`)
    .split('<!--plain-->');
  const policy = {
    'default-src': "'none'",
    'style-src': hashOf(style),
    'script-src': hashOf(script),
    'connect-src': "'self'",
    'base-uri': "'none'",
    'form-action': "'none'",
    'frame-ancestors': "'none'",
    'require-trusted-types-for': "'script'",
    'trusted-types': "'none'",
  };
  const headers = {
    'Content-Security-Policy': Object.entries(policy)
      .map(([name, value]) => `${name} ${value}`)
      .join('; '),
    'Referrer-Policy': 'no-referrer',
    'X-Frame-Options': 'DENY',
    'Cross-Origin-Resource-Policy': 'same-origin',
    Vary: 'Accept',
  };
  return { before, after, headers };
}

type Templates = Readonly<Record<'public' | 'local', Template>>;

async function makeTemplates(): Promise<Templates> {
  const parts =
    typeof __ELECTORD_PAGE__ === 'object' ? __ELECTORD_PAGE__ : await partsOfTheCheckout();
  return {
    public: templateOf(parts, parts.publicScript),
    local: templateOf(parts, parts.localScript),
  };
}

let templates: Promise<Templates> | null = null;

/** The table without scripts has so many rows; `/elections` has all. */
const plainRows = 100;

function row({ election, leader, role }: LeaderAnswer): string {
  const { id = 'nobody known', address = '', fencingToken = '' } = leader ?? {};
  const cells = [election, id, address ?? '', fencingToken, role];
  return `<tr>${cells.map((cell) => `<td>${escaped(cell)}</td>`).join('')}</tr>`;
}

/** `/` for a browser. */
export async function page({ inputs, local }: Asked): Promise<Reply> {
  const both = await (templates ??= makeTemplates());
  const { before, after, headers } = local === null ? both.public : both.local;
  const answers = electionsAnswer(inputs).elections;
  const body = before + answers.slice(0, plainRows).map(row).join('') + after;
  return { status: 200, contentType: 'text/html; charset=utf-8', body, headers };
}

/** The election that a page looks at: in the path, in the query, or the only one; null for none of many. */
function lookedAt(
  election: ElectionName | null,
  { query, inputs: { elections } }: Asked,
): ElectionName | null {
  const wanted = query.get('election');
  if (election !== null) return election;
  if (wanted === null) return elections.names.length === 1 ? soleElection(elections) : null;
  const found = elections.names.find((each) => each === wanted);
  if (found !== undefined) return found;
  const detail = `there is no election ${quoted(wanted)} here; /elections lists all`;
  throw new Refusal(404, 'unknown_election', detail);
}

/** `/peers`: a stream of how the members of one election answer, for as long as the page is open. */
export function peers(asked: Asked & { readonly election: ElectionName | null }): Reply {
  const { peers: watch } = asked.inputs;
  const election = lookedAt(asked.election, asked);
  if (watch === undefined || watch.isFull()) {
    const headers = { 'Retry-After': '5' };
    const detail = 'as many pages as are served at once are open';
    throw new Refusal(503, 'too_many_clients', detail, { headers });
  }
  return {
    status: 200,
    contentType: 'text/event-stream',
    body: '',
    headers: { 'X-Accel-Buffering': 'no' },
    stream: (response) => watch.open(response, election),
  };
}

function overviewRow(inputs: Inputs, name: ElectionName): OverviewRow {
  const report = inputs.elections.report(name);
  const { election, role, obstacle, leader, candidates, control } = report;
  const shown = leader === null ? null : leaderOnWire(leader, inputs);
  return {
    election,
    role,
    obstacle,
    leader: shown && { id: shown.id, fencingToken: shown.fencingToken, since: shown.since },
    candidates: candidates.length,
    paused: control !== null,
  };
}

/** `/overview`: one short row for every election. */
export function overview({ inputs }: Asked): Reply {
  const { elections, version, wallNow } = inputs;
  const [first] = elections.names;
  const body: OverviewAnswer = {
    id: first === undefined ? '' : elections.report(first).id,
    version,
    at: new Date(wallNow()).toISOString(),
    health: healthAnswer(inputs),
    elections: elections.names.map((name) => overviewRow(inputs, name)),
  };
  return json(200, body);
}
