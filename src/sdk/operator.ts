// The operator's side of a sidecar: what it says of itself and the election, and the verbs that change who leads. Every
// command of the command line asks through this.
import type {
  AuditAnswer,
  HistoryAnswer,
  LeaderAnswer,
  MembersAnswer,
  PauseAnswer,
  PauseRequest,
  StatusAnswer,
  StepDownRequest,
  SwitchoverBody,
  VerbAnswer,
  VerbRequest,
} from '../contract.ts';
import { UnusableAnswer } from './errors.ts';
import { leaderAnswerIn } from './knowledge.ts';
import type { Transport } from './transport.ts';

/** What a sidecar that works always answers sooner than. */
const answerWithinMs = 5000;
/** A verb ends when the hand-over does: the longest --grace (ten minutes) and the longest TTL behind it, and some more. */
const verbWithinMs = 21 * 60_000;

export class Operator {
  readonly #transport: Transport;
  readonly #base: string;

  constructor(parts: { readonly transport: Transport; readonly election: string | null }) {
    const { election } = parts;
    this.#transport = parts.transport;
    this.#base = election === null ? '' : `/elections/${encodeURIComponent(election)}`;
  }

  /** The sidecar's own state. All methods reject with SidecarUnreachable, SidecarRefused or UnusableAnswer. */
  async status(): Promise<StatusAnswer> {
    const status = await this.#get('/status', 'ttlMs');
    leaderAnswerIn(status);
    return status as StatusAnswer;
  }

  async members(): Promise<MembersAnswer> {
    return (await this.#get('/members', 'members')) as MembersAnswer;
  }

  /** The terms remembered, newest first, at most a hundred. */
  async history(): Promise<HistoryAnswer> {
    return (await this.#get('/history', 'terms')) as HistoryAnswer;
  }

  /** All elections that the sidecar stands in, whichever was named. */
  async elections(): Promise<readonly LeaderAnswer[]> {
    const { body } = await this.#transport.ask({ path: '/elections', withinMs: answerWithinMs });
    const { elections } = checked(body, 'elections') as { elections: readonly unknown[] };
    return elections.map(leaderAnswerIn);
  }

  /** The verbs asked for, newest first, at most a hundred. */
  async audit(): Promise<AuditAnswer> {
    return (await this.#get('/audit', 'entries')) as AuditAnswer;
  }

  /**
   * Ends the term of this sidecar; with `notFor` it does not lead for so long, whether it led or not. Refused (409) where it does
   * not lead and `notFor` is not given, and where nobody else can lead, unless forced.
   */
  async stepDown(request: StepDownRequest = {}): Promise<VerbAnswer> {
    return (await this.#post('/step-down', request)) as VerbAnswer;
  }

  /**
   * Hands leadership over to a named member, whichever sidecar is asked; one that leads already is a success. Nothing is undone
   * where it takes longer than `withinMs`.
   */
  async switchover(request: SwitchoverBody, withinMs = verbWithinMs): Promise<VerbAnswer> {
    return (await this.#post('/switchover', request, withinMs)) as VerbAnswer;
  }

  /** From now on nobody campaigns; the leader stays. Ends by itself. */
  async pause(request: PauseRequest = {}): Promise<PauseAnswer> {
    return (await this.#post('/pause', request)) as PauseAnswer;
  }

  async resume(request: VerbRequest = {}): Promise<PauseAnswer> {
    return (await this.#post('/resume', request)) as PauseAnswer;
  }

  /** Ends the connections. */
  close(): void {
    this.#transport.close();
  }

  async #get(path: string, member: string): Promise<unknown> {
    const question = { path: this.#base + path, withinMs: answerWithinMs };
    return checked((await this.#transport.ask(question)).body, member);
  }

  async #post(path: string, body: object, withinMs = verbWithinMs): Promise<unknown> {
    const question = { method: 'POST', path: this.#base + path, body, withinMs } as const;
    return checked((await this.#transport.ask(question)).body, 'detail');
  }
}

function checked(body: unknown, member: string): unknown {
  if (typeof body === 'object' && body !== null && member in body) return body;
  throw new UnusableAnswer(`what the sidecar answered has no ${member}`);
}
