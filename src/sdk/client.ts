// `electord/client`: what an app asks its own sidecar. It promises that `isLeader()` is true only while the sidecar's
// word holds, counted on the monotonic clock from before it was asked for; whatever happens to the sidecar, the network,
// the wall clock or this process. With every question it asks for a hold, so that no switchover, step-down or SIGTERM lets
// another lead meanwhile. It does not promise that work which was begun in time ends in time: pass the fencing token on
// to whatever you write to.
import { SystemClock } from '../process/clock.ts';
import { sidecarAddress, standardUrl } from './address.ts';
import { AppClient, type Client } from './app-client.ts';
import { Operator } from './operator.ts';
import { tlsFromFiles } from './tls-files.ts';
import { HttpTransport, type TlsOptions } from './transport.ts';

export type {
  AuditAnswer,
  AuditEntry,
  LeaderAnswer,
  LeaderOnWire,
  MemberOnWire,
  MembersAnswer,
  PauseAnswer,
  PauseRequest,
  Problem,
  HistoryAnswer,
  StatusAnswer,
  StepDownRequest,
  SwitchoverBody,
  TermOnWire,
  VerbAnswer,
  VerbRequest,
  VerbTrace,
} from '../contract.ts';
export type { Client, Hold } from './app-client.ts';
export type { Leader, Leadership } from './knowledge.ts';
export type { Operator } from './operator.ts';
export type { TlsOptions } from './transport.ts';
export type { Term, WhileLeaderOptions } from './terms.ts';
export {
  ClientClosed,
  LeadershipLost,
  NotLeader,
  SidecarRefused,
  SidecarUnreachable,
  UnusableAnswer,
  UnusableOption,
} from './errors.ts';

/** Which sidecar, and which of its elections. */
export interface ConnectOptions {
  /**
   * The sidecar's local listener: `http://host:port`, `https://host:port` or `unix:/path`. By default
   * `$ELECTORD_LOCAL_URL`, else `http://127.0.0.1:4041`.
   */
  readonly url?: string;
  /** The election; may be left out where the sidecar stands in just one. */
  readonly election?: string;
  /** The bearer token: without it a sidecar that was given one grants no holds, and refuses every question (401). */
  readonly token?: string;
  /**
   * Certificates in PEM, for a sidecar that serves HTTPS. By default what is in the files that `$ELECTORD_CA`, `$ELECTORD_CERT`
   * and `$ELECTORD_KEY` name, and `$ELECTORD_SERVER_NAME`.
   */
  readonly tls?: TlsOptions;
}

function way(options: ConnectOptions) {
  const fromEnvironment = process.env['ELECTORD_LOCAL_URL'];
  const url = options.url ?? (fromEnvironment === '' ? undefined : fromEnvironment) ?? standardUrl;
  const address = sidecarAddress(url);
  const clock = new SystemClock();
  const { election = null, token = null } = options;
  const secure = address.kind === 'tcp' && address.secure;
  const tls = options.tls ?? (secure ? tlsFromFiles() : {});
  const transport = new HttpTransport({ address, shownAs: url, token, tls, clock });
  return { transport, election, clock, random: Math.random };
}

/**
 * Begins to follow who leads. Returns at once, and leads nobody until the sidecar has answered: await `ready()` where
 * that matters. It keeps the process alive until `close()`.
 *
 * @throws UnusableOption if the address is none.
 *
 * @example
 * const electord = connect();
 * await electord.whileLeader(async (term, signal) => {
 *   while (!signal.aborted) await workOnce({ fencingToken: term.fencingToken, signal });
 * });
 */
export function connect(options: ConnectOptions = {}): Client {
  return new AppClient(way(options));
}

/**
 * The operator's side of a sidecar: its state, its members, its history, and the verbs that change who leads.
 *
 * @throws UnusableOption if the address is none.
 */
export function operate(options: ConnectOptions = {}): Operator {
  return new Operator(way(options));
}
