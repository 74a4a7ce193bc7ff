// `electord status`: one look at a sidecar and its election, or, with --watch, a look that stays true: redrawn on a
// terminal, a line for each change elsewhere.
import type {
  Client,
  StatusAnswer,
  LeaderAnswer,
  MemberOnWire,
  MembersAnswer,
  Operator,
} from '../sdk/client.ts';
import { slowFromMs, type EtcdOnWire } from '../contract.ts';
import { SidecarRefused } from '../sdk/errors.ts';
import { ElectordError } from '../errors.ts';
import {
  isFinal,
  mayColour,
  UnusableArgument,
  withClient,
  withOperator,
  type CommonFlags,
} from './operator.ts';
import { say, sayJson } from './output.ts';
import { OperatorScreen } from './operator-screen.ts';
import { atMost, elapsed, momentOf } from './operator-times.ts';
import { inWords } from './plain-words.ts';
import { line, printable, rendered, table, type Cell, type Emphasis, type Line } from './table.ts';
import { exitCodes } from './exit-codes.ts';

export interface StatusFlags extends CommonFlags {
  readonly watch?: true;
}

/** What moves by itself, such as the lease, is redrawn this often; a change of leadership at once. */
const redrawEveryMs = 500;
/** Where there is no terminal: a sidecar that is away, or back, is told within this. */
const lookEveryMs = 1000;

/** Resolves with the exit code. */
export function status(flags: StatusFlags): Promise<number> {
  if (flags.watch === true)
    return withClient(flags, (client, operator) => watch(client, operator, flags));
  return withOperator(flags, async (operator) => {
    const picture = await look(operator, flags);
    if (flags.json === true) sayJson(picture.json);
    else for (const each of picture.lines) say(rendered(each, mayColour(process.stdout)));
    return exitCodes.clean;
  });
}

interface Picture {
  readonly json: object;
  readonly lines: readonly Line[];
  /** Who leads and what this sidecar is; null for a list. */
  readonly sentence: string | null;
}

/** The one election, or the list of all where there are several and none was named. */
async function look(operator: Operator, { election }: CommonFlags): Promise<Picture> {
  try {
    const [own, members] = await Promise.all([operator.status(), operator.members()]);
    const lines = pictureOf(own, members);
    return { json: { ...own, members: members.members }, lines, sentence: sentenceOf(own) };
  } catch (failure) {
    const several = failure instanceof SidecarRefused && failure.code === 'election_required';
    if (!several || election !== undefined) throw failure;
    const elections = await operator.elections();
    return { json: { elections }, lines: listOf(elections), sentence: null };
  }
}

function emphasisOf(role: string): Emphasis | undefined {
  if (role === 'leader') return 'good';
  return role === 'unknown' ? 'bad' : undefined;
}

const cell = (text: string, emphasis?: Emphasis): Cell =>
  emphasis === undefined ? text : { text, emphasis };
const heading = (...titles: readonly string[]): readonly Cell[] =>
  titles.map((title) => cell(title, 'dim'));

/** A sidecar of an older version does not say for how long. */
function leaderText({
  leader,
  leaderlessAtMostMs = null,
}: LeaderAnswer & Partial<StatusAnswer>): Cell {
  if (leader === null) {
    const forMs = leaderlessAtMostMs === null ? '' : `, for ${atMost(leaderlessAtMostMs)}`;
    return cell(`nobody is known to lead${forMs}`, 'bad');
  }
  const { id, address, since } = leader;
  const at = address === null ? '' : `, ${address}`;
  const ledMs = Date.now() - Date.parse(since);
  return cell(`${id} since ${momentOf(since)} (${elapsed(Math.max(0, ledMs))})${at}`, 'strong');
}

function leaseText({ lease }: StatusAnswer): Cell {
  if (lease === null) return cell('none', 'bad');
  return `${elapsed(lease.remainingMs)} left of ${elapsed(lease.ttlMs)}`;
}

/** `standing back until 2026-11-20 21:00:03`; a sidecar of an older version does not say until when. */
function obstacleText({ obstacle, standsBackUntil = null }: Partial<StatusAnswer>): string {
  const words = obstacle?.replaceAll('_', ' ') ?? '';
  const tellsUntil = obstacle === 'standing_back' && standsBackUntil !== null;
  return tellsUntil ? `${words} until ${momentOf(standsBackUntil)}` : words;
}

function roleText(own: StatusAnswer): Cell {
  const { id, role, obstacle, steppingDown, stopping } = own;
  const notes = [
    obstacle === null ? null : `does not campaign: ${obstacleText(own)}`,
    steppingDown ? 'stepping down' : null,
    stopping ? 'stopping' : null,
  ].filter((note) => note !== null);
  return cell([`${id} is ${role}`, ...notes].join(', '), emphasisOf(role));
}

/** Of a sidecar of an older version nothing is known. */
function failoverText({ isLeader, failover = null }: Partial<StatusAnswer>): Cell | null {
  if (failover === null) return null;
  const { shortMs, witnesses, isWitness } = failover;
  const after = elapsed(shortMs);
  if (isLeader) {
    return witnesses.length === 0
      ? cell('no witness: a crash costs a TTL', 'bad')
      : cell(`${witnesses.join(' and ')} would replace it after ${after}`);
  }
  return isWitness ? cell(`replaces the leader after ${after} of silence`) : null;
}

/** `is next; waits 3.2 s more, because the lease of orders-0 was taken away`. */
function waitingText({ forMs, for: whom, because }: NonNullable<StatusAnswer['waiting']>): Cell {
  const why =
    because === 'taken_away'
      ? `because the lease of ${whom ?? 'the last leader'} was taken away`
      : `as --takeover-delay says, after ${whom ?? 'whoever may have led before'}`;
  return cell(`is next; waits ${elapsed(forMs)} more, ${why}`, 'bad');
}

/** A sidecar of an older version does not say how long it takes. */
function etcdText({ contactAgeMs, answeredInMs = null }: EtcdOnWire, ttlMs: number): Cell {
  if (typeof contactAgeMs !== 'number') return cell('has not answered yet', 'bad');
  const isSlow = answeredInMs !== null && answeredInMs > slowFromMs(ttlMs);
  const took =
    answeredInMs === null ? '' : `, answered in ${elapsed(answeredInMs)}${isSlow ? ': slow' : ''}`;
  const isBad = isSlow || contactAgeMs >= ttlMs;
  return cell(`asked ${elapsed(contactAgeMs)} ago${took}`, isBad ? 'bad' : undefined);
}

function pictureOf(own: StatusAnswer, { members }: MembersAnswer): readonly Line[] {
  const facts: (readonly Cell[])[] = [
    [cell('election', 'dim'), cell(own.election, 'strong')],
    [cell('leader', 'dim'), leaderText(own)],
    [cell('token', 'dim'), own.leader?.fencingToken ?? '-'],
    [cell('sidecar', 'dim'), roleText(own)],
    [cell('lease', 'dim'), leaseText(own)],
    [cell('etcd', 'dim'), etcdText(own.etcd, own.ttlMs)],
  ];
  const app = appText(own);
  if (app !== null) facts.push([cell('app', 'dim'), app]);
  if (own.waiting !== null) facts.push([cell('waiting', 'dim'), waitingText(own.waiting)]);
  const failover = failoverText(own);
  if (failover !== null) facts.push([cell('failover', 'dim'), failover]);
  if (own.control !== null) facts.push([cell('paused', 'dim'), pausedText(own.control)]);
  const rows = members.map((member): readonly Cell[] => [
    member.place === null ? '-' : String(member.place),
    cell(`${member.id}${member.self ? ' *' : ''}`, member.role === 'leader' ? 'strong' : undefined),
    cell(member.role, emphasisOf(member.role)),
    String(member.priority),
    healthText(member),
    member.address ?? '-',
    member.version ?? (member.native ? '-' : 'another program'),
  ]);
  const columns = heading('PLACE', 'MEMBER', 'ROLE', 'PRIORITY', 'HEALTH', 'ADDRESS', 'VERSION');
  return [...table(facts), line(), ...table([columns, ...rows])];
}

/** Of a sidecar of an older version nothing is known. */
function appText({ app }: Partial<StatusAnswer>): Cell | null {
  if (app === undefined) return null;
  if (!app.checked) return cell(app.detail, 'dim');
  return app.healthy ? `healthy: ${app.detail}` : cell(`unhealthy: ${app.detail}`, 'bad');
}

/** Of an app that nobody checks nothing is known: a sidecar of an older version does not say so. */
function healthText({
  native,
  healthy,
  checked = null,
}: Pick<MemberOnWire, 'native' | 'healthy'> & Partial<MemberOnWire>): Cell {
  if (!native) return '-';
  if (!healthy) return cell('unhealthy', 'bad');
  return checked === false ? cell('not checked', 'dim') : cell('healthy', 'good');
}

function pausedText({ by, until, reason }: NonNullable<StatusAnswer['control']>): Cell {
  const parts = [
    until === null ? null : `until ${momentOf(until)}`,
    by === null ? null : `by ${by}`,
    reason,
  ].filter((part) => part !== null);
  return cell(parts.join(', '), 'bad');
}

function listOf(elections: readonly LeaderAnswer[]): readonly Line[] {
  const rows = elections.map((one): readonly Cell[] => [
    one.election,
    cell(one.role, emphasisOf(one.role)),
    one.leader === null ? cell('-', 'bad') : one.leader.id,
    one.leader?.fencingToken ?? '-',
    one.isLeader ? elapsed(one.validForMs) : '-',
  ]);
  return table([heading('ELECTION', 'ROLE', 'LEADER', 'TOKEN', 'VALID FOR'), ...rows]);
}

/** Ends with SIGINT or SIGTERM, or where the sidecar refuses for good. */
async function watch(client: Client, operator: Operator, flags: StatusFlags): Promise<number> {
  const redraws = flags.json !== true && OperatorScreen.fits(process.stdout);
  const screen = redraws ? new OperatorScreen(process.stdout) : null;
  let last: readonly Line[] = [];
  let told = '';
  /** Where there is no terminal: nothing is said twice, however often it is looked at. */
  const tell = (what: string, sentence: string, json: object): void => {
    if (what === told) return;
    told = what;
    if (flags.json === true) sayJson(json);
    else say(printable(`${new Date().toISOString()}  ${sentence}`));
  };
  const show = async (): Promise<void> => {
    try {
      const { json, lines, sentence } = await look(operator, flags);
      if (screen !== null) screen.show((last = lines));
      else if (sentence !== null) tell(sentence, sentence, json);
      else throw new UnusableArgument('there are several elections: name the one with --election');
    } catch (failure) {
      if (!(failure instanceof ElectordError) || isFinal(failure)) throw failure;
      const { code, message } = failure;
      const words = inWords(message);
      // The picture stays, and says itself that it is out of date.
      const stale = line({ text: `OUT OF DATE: ${words}`, emphasis: 'bad' });
      if (screen !== null) screen.show([stale, line(), ...last]);
      else tell(code, words, { error: code, detail: message });
    }
  };
  try {
    await untilEnded(client, show, screen === null ? lookEveryMs : redrawEveryMs);
  } finally {
    screen?.close();
  }
  return exitCodes.clean;
}

function sentenceOf({ leader, role, id }: StatusAnswer): string {
  const who =
    leader === null
      ? 'nobody is known to lead'
      : `${leader.id} leads, token ${leader.fencingToken}`;
  return `${who}; ${id} is ${role}`;
}

/** Calls `show` now, after each change, and every so often; one call at a time, and none is lost. */
function untilEnded(client: Client, show: () => Promise<void>, everyMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let showing = false;
    let again = false;
    const end = (settle: () => void): void => {
      clearInterval(timer);
      unsubscribe();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop);
      settle();
    };
    const stop = (): void => end(resolve);
    const run = async (): Promise<void> => {
      again = showing;
      if (showing) return;
      showing = true;
      try {
        await show();
      } catch (failure) {
        end(() => reject(failure instanceof Error ? failure : new Error(String(failure))));
        return;
      }
      showing = false;
      if (again) void run();
    };
    const unsubscribe = client.onChange(() => void run());
    const timer = setInterval(() => void run(), everyMs);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
    void run();
  });
}
