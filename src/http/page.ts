// The status page under `/` for a browser, and what it alone asks for: `/peers`, `/overview` and `/worker.js`. The page is
// one document; what it may run is named by hash, and only the page of the local listener has the code of the operator's
// verbs. All that it loads is the worker that holds one stream for all windows. Without scripts a browser shows a plain table.
import { createHash } from 'node:crypto';
import type { LeaderAnswer } from '../contract.ts';
import type { ElectionName } from '../core/model.ts';
import {
  electionsAtMost,
  workerPolicy,
  type OverviewAnswer,
  type OverviewRow,
} from '../page/wire.ts';
import { electionsAnswer, statusAnswer } from './answers.ts';
import { json, soleElection, type Asked, type Reply } from './exchange.ts';
import type { Inputs } from './inputs.ts';
import { healthAnswer } from './health.ts';
import { membersAnswer } from './members.ts';
import { quoted, Refusal } from './problems.ts';

/** The parts of the page as scripts/bundle/page.mjs makes them from src/page. */
interface PageParts {
  readonly html: string;
  readonly style: string;
  readonly publicScript: string;
  readonly localScript: string;
  readonly worker: string;
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

const policyText = (policy: Readonly<Record<string, string>>): string =>
  Object.entries(policy)
    .map(([name, value]) => `${name} ${value}`)
    .join('; ');

function templateOf({ html, style, worker }: PageParts, script: string): Template {
  const build = createHash('sha256').update(worker).digest('hex').slice(0, 16);
  const [before = '', after = ''] = html
    .replace('<!--build-->', build)
    .replace('<!--style-->', () => `<style>${style}</style>`)
    .replace('<!--script-->', () => `<script type="module">${script}</script>`)
    .split('<!--plain-->');
  const policy = {
    'default-src': "'none'",
    'style-src': hashOf(style),
    'script-src': hashOf(script),
    'worker-src': "'self'",
    'connect-src': "'self'",
    'base-uri': "'none'",
    'form-action': "'none'",
    'frame-ancestors': "'none'",
    'require-trusted-types-for': "'script'",
    'trusted-types': workerPolicy,
  };
  const headers = {
    'Content-Security-Policy': policyText(policy),
    'Referrer-Policy': 'no-referrer',
    'X-Frame-Options': 'DENY',
    'Cross-Origin-Resource-Policy': 'same-origin',
    Vary: 'Accept',
  };
  return { before, after, headers };
}

type Templates = Readonly<Record<'public' | 'local', Template>> & { readonly worker: string };

async function makeTemplates(): Promise<Templates> {
  const parts =
    typeof __ELECTORD_PAGE__ === 'object' ? __ELECTORD_PAGE__ : await partsOfTheCheckout();
  return {
    public: templateOf(parts, parts.publicScript),
    local: templateOf(parts, parts.localScript),
    worker: parts.worker,
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

/** `/worker.js`: what holds the stream for all windows of a browser. */
export async function workerScript(): Promise<Reply> {
  const { worker } = await (templates ??= makeTemplates());
  const headers = {
    'Content-Security-Policy': policyText({ 'default-src': "'none'", 'connect-src': "'self'" }),
    'Cross-Origin-Resource-Policy': 'same-origin',
  };
  return { status: 200, contentType: 'text/javascript; charset=utf-8', body: worker, headers };
}

/** The elections that a stream is of: in the path, in the query, or the only one; none of many where none is named. */
function followed(
  election: ElectionName | null,
  { query, inputs: { elections } }: Asked,
): readonly ElectionName[] {
  if (election !== null) return [election];
  const wanted = [...new Set(query.getAll('election'))];
  if (wanted.length === 0) return elections.names.length === 1 ? [soleElection(elections)] : [];
  if (wanted.length > electionsAtMost) {
    const detail = `${wanted.length} elections are more than the ${electionsAtMost} that a stream follows`;
    throw new Refusal(400, 'invalid_parameter', detail);
  }
  const known: ReadonlySet<string> = new Set(elections.names);
  return wanted.map((one) => {
    if (known.has(one)) return one as ElectionName;
    const detail = `there is no election ${quoted(one)} here; /elections lists all`;
    throw new Refusal(404, 'unknown_election', detail);
  });
}

/**
 * `/peers`: a stream of how the members of some elections answer, and of every change of leadership, as `/events` has it
 * but without the state at its beginning: for as long as a page is open.
 */
export function peers(asked: Asked & { readonly election: ElectionName | null }): Reply {
  const { peers: watch, events } = asked.inputs;
  const side = asked.local === null ? 'public' : 'local';
  const elections = followed(asked.election, asked);
  if (watch === undefined || watch.isFull() || events.isFull(side)) {
    const headers = { 'Retry-After': '5' };
    const detail = 'as many pages as are served at once are open';
    throw new Refusal(503, 'too_many_clients', detail, { headers });
  }
  return {
    status: 200,
    contentType: 'text/event-stream',
    body: '',
    headers: { 'X-Accel-Buffering': 'no' },
    stream: (response) => {
      events.follow(side, response);
      watch.open(response, elections);
    },
  };
}

function overviewRow(inputs: Inputs, name: ElectionName): OverviewRow {
  const report = inputs.elections.report(name);
  const { election, role, obstacle, leader, candidates, control } = report;
  return {
    election,
    role,
    obstacle,
    leader: leader && {
      id: leader.id,
      fencingToken: leader.token.toString(),
      since: leader.since,
    },
    candidates: candidates.length,
    paused: control !== null,
  };
}

/**
 * `/overview`: one short row for every election, and all about the one that is looked at. It is one answer, so that no two
 * parts of a page are of different moments. A page that looks at an election of before a restart learns here that it is gone.
 */
export function overview({ inputs, query }: Asked): Reply {
  const { elections, version, wallNow } = inputs;
  const [first] = elections.names;
  const wanted = query.get('election') ?? (elections.names.length === 1 ? first : null);
  const shown = elections.names.find((name) => name === wanted);
  const report = shown === undefined ? null : elections.report(shown);
  const body: OverviewAnswer = {
    id: first === undefined ? '' : elections.report(first).id,
    version,
    at: new Date(wallNow()).toISOString(),
    health: healthAnswer(inputs),
    elections: elections.names.map((name) => overviewRow(inputs, name)),
    details: report && {
      status: statusAnswer(report, inputs),
      members: membersAnswer(report, elections),
    },
  };
  return json(200, body);
}
