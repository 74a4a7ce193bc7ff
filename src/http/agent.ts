// What HAProxy's agent-check asks: one line of text over TCP, answered by one line. The question is `[ELECTION] [leader or
// follower] [DURATION]`, the answer `up` or `down #why`, by the same functions as /leader and /follower. With a duration
// the answer is held back until it changes, for at most that long: so a hand-over is seen when it happens, and not at the
// next interval. Neither `ready` nor `maint` is ever said: what an operator has set in HAProxy stays.
import { createServer, type Server, type Socket } from 'node:net';
import { durationForm, readDuration } from '../contract.ts';
import type { ElectionName, Millis } from '../core/model.ts';
import { leaderAnswer } from './answers.ts';
import type { Inputs } from './inputs.ts';
import { bind } from '../process/bind.ts';
import type { Listening } from './listen.ts';
import { follower, leader } from './probes.ts';
import { quoted } from './problems.ts';

export interface AgentLimits {
  readonly maxConnections: number;
  /** A question without an end of line, or none at all, is taken as it is after so long. */
  readonly askWithinMs: number;
  /** The longest name of an election, and then some. */
  readonly questionBytes: number;
  readonly holdAtMostMs: number;
  /** How long a client has to take its answer. */
  readonly takeWithinMs: number;
}

const standardLimits: AgentLimits = {
  maxConnections: 128,
  askWithinMs: 250,
  questionBytes: 256,
  holdAtMostMs: 10_000,
  takeWithinMs: 1000,
};

interface Question {
  readonly election: ElectionName;
  readonly role: 'leader' | 'follower';
  readonly holdMs: number;
}

/** What is asked, or why that is not known. */
function questionIn(text: string, names: readonly ElectionName[]): Question | string {
  const words = text.split(/\s+/).filter((word) => word !== '');
  const hold = durationForm.test(words.at(-1) ?? '') ? readDuration(words.pop() ?? '') : null;
  const role = words.at(-1) === 'follower' ? 'follower' : 'leader';
  if (words.at(-1) === role) words.pop();
  const [name, ...rest] = words;
  // As with the paths: with several elections the question must say which.
  if (name === undefined && names.length > 1) return 'the question names no election';
  const election = name === undefined ? names[0] : names.find((one) => one === name);
  if (election === undefined) return `no election ${quoted(name ?? '')} here`;
  if (rest.length > 0) return 'the question has too many words';
  return { election, role, holdMs: hold !== null && 'ms' in hold ? hold.ms : 0 };
}

/** One line without its end. A dead name, a claim that is over: all that is judged as for an answer over HTTP. */
function lineFor({ election, role }: Question, inputs: Inputs): string {
  const report = inputs.elections.report(election);
  const { status } = (role === 'leader' ? leader : follower)(report, inputs);
  if (status === 200) return 'up';
  const answer = leaderAnswer(report, inputs);
  if (answer.isLeader) return 'down #it leads';
  if (answer.role === 'unknown') return 'down #it does not know who leads';
  if (answer.leader === null) return 'down #nobody leads';
  return role === 'leader' ? `down #${answer.leader.id} leads` : 'down #it is not healthy';
}

/** One connection: a question, its answer, and the end. */
class Poll {
  readonly #socket: Socket;
  readonly #agents: Agents;
  #text = '';
  #question: Question | null = null;
  #line = '';
  #timer: NodeJS.Timeout;

  constructor(socket: Socket, agents: Agents) {
    this.#socket = socket;
    this.#agents = agents;
    this.#timer = setTimeout(() => this.#asked(), agents.limits.askWithinMs);
    socket.on('data', (part: Buffer) => this.#read(part.toString('latin1')));
    // Whoever has nothing to ask and ends its side wants an answer all the same.
    socket.on('end', () => this.#asked());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(this.#timer);
      agents.polls.delete(this);
    });
  }

  /** Answers what is held back if the answer is another one by now, or in any case. */
  look(inAnyCase = false): void {
    if (this.#question === null) {
      if (inAnyCase) this.#socket.destroy();
      return;
    }
    const { line } = this.#agents.look(this.#question);
    if (inAnyCase || line !== this.#line) this.#answer(line);
  }

  #read(part: string): void {
    if (this.#question !== null) return;
    this.#text += part;
    if (this.#text.length > this.#agents.limits.questionBytes) this.#socket.destroy();
    else if (this.#text.includes('\n')) this.#asked();
  }

  #asked(): void {
    if (this.#question !== null || this.#socket.writableEnded) return;
    const { inputs } = this.#agents;
    const [first = ''] = this.#text.split('\n');
    const question = questionIn(first, inputs.elections.names);
    if (typeof question === 'string') {
      this.#answer(`down #${question}`);
      return;
    }
    this.#question = question;
    const { line, holdMs } = this.#agents.look(question);
    this.#line = line;
    if (holdMs <= 0) this.#answer(line);
    else this.#wait(holdMs, () => this.look(true));
  }

  #answer(line: string): void {
    if (this.#socket.writableEnded) return;
    // Whatever an id has in it, the answer is one line.
    this.#socket.end(`${line.replaceAll(/[\r\n]/g, ' ')}\n`);
    this.#wait(this.#agents.limits.takeWithinMs, () => this.#socket.destroy());
  }

  #wait(forMs: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, forMs);
  }
}

/** All polls of a listener, and since when what they ask about has been as it is. */
class Agents {
  readonly inputs: Inputs;
  readonly limits: AgentLimits;
  readonly polls = new Set<Poll>();
  readonly #openedAt: Millis;
  readonly #changedAt = new Map<ElectionName, Millis>();
  readonly #unsubscribe: () => void;

  constructor(inputs: Inputs, limits: AgentLimits) {
    this.inputs = inputs;
    this.limits = limits;
    this.#openedAt = inputs.clock.now();
    this.#unsubscribe = inputs.elections.subscribe((notice) => {
      if (notice.kind !== 'changed') return;
      this.#changedAt.set(notice.election, inputs.clock.now());
      for (const poll of this.polls) poll.look();
    });
  }

  /** The answer, and for how long it may be held back. Never throws: who cannot tell does not lead. */
  look(question: Question): { readonly line: string; readonly holdMs: number } {
    try {
      return { line: lineFor(question, this.inputs), holdMs: this.#mayHold(question) };
    } catch (error) {
      this.inputs.reportError(error);
      return { line: 'down #it cannot tell', holdMs: 0 };
    }
  }

  /**
   * Not at all before it has been so for as long, since whoever asked last may not know it yet; and no longer than a claim
   * lasts.
   */
  #mayHold({ election, holdMs }: Question): number {
    const now = this.inputs.clock.now();
    const wantedMs = Math.min(holdMs, this.limits.holdAtMostMs);
    if (now - (this.#changedAt.get(election) ?? this.#openedAt) < wantedMs) return 0;
    const { token, validUntil } = this.inputs.elections.report(election);
    return token === null ? wantedMs : Math.min(wantedMs, validUntil - now);
  }

  close(): void {
    this.#unsubscribe();
    for (const poll of this.polls) poll.look(true);
  }
}

function serverFor(agents: Agents): Server {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    agents.polls.add(new Poll(socket, agents));
  });
  server.maxConnections = agents.limits.maxConnections;
  return server;
}

/**
 * Answers agent-checks at that address.
 *
 * @throws CannotListen if the address is taken or not to be had.
 */
export async function listenToAgents(
  { host, port }: { readonly host: string; readonly port: number },
  inputs: Inputs,
  limits: Partial<AgentLimits> = {},
): Promise<Listening> {
  const agents = new Agents(inputs, { ...standardLimits, ...limits });
  const server = serverFor(agents);
  try {
    await bind(server, { host, port });
  } catch (failure) {
    agents.close();
    throw failure;
  }
  // A failing accept (no file descriptors left) costs that connection, not the process.
  server.on('error', (error) => inputs.reportError(error));
  const bound = server.address();
  const ended = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      agents.close();
    });
  let closed: Promise<void> | null = null;
  return {
    address:
      typeof bound === 'object' && bound !== null ? { host, port: bound.port } : { host, port },
    renew: () => undefined,
    close: () => (closed ??= ended()),
  };
}
