// Errors as clients see them: RFC 9457 with a stable `code`. Codes are part of the contract; details are not.
import type { Problem } from '../contract.ts';
import { ElectordError, FencedOut } from '../errors.ts';

const titles = {
  not_found: 'There is nothing under this path',
  unknown_election: 'This instance does not know that election',
  election_required: 'The path must name an election',
  method_not_allowed: 'The path does not know this method',
  malformed_request: 'The request cannot be read',
  header_too_large: 'The header of the request is too large',
  request_timeout: 'The request did not arrive in time',
  internal_error: 'Something went wrong here',
  local_only: 'This is served on the local listener only',
  forbidden_origin: 'A page of another origin may not ask for this',
  forbidden_host: 'The request names a host that this listener is not known by',
  unauthorized: 'A bearer token is required',
  certificate_required: 'A client certificate is required',
  wrong_signature: 'The message is not signed for this process',
  unsupported_media_type: 'The body is of a kind that is not read here',
  body_too_large: 'The body is too large',
  invalid_body: 'The body is not as it should be',
  invalid_parameter: 'A parameter is not as it should be',
  too_many_clients: 'Too many clients receive events',
  not_leader: 'This instance does not lead',
  fenced_out: 'The term does not lead any more',
  precondition_failed: 'The value is not the one that was expected',
  no_such_key: 'There is no value under this key',
  idempotency_key_reused: 'The idempotency key belongs to another entry',
  no_leader: 'Nobody leads',
  nobody_else: 'Nobody else can lead',
  unknown_member: 'There is no such member',
  not_a_candidate: 'The member does not stand for election',
  never_leads: 'The member never leads',
  app_unhealthy: 'The app of the member is not healthy',
  foreign_candidate: 'A candidate of another program is in the way',
  not_settled: 'The member has not settled yet',
  paused: 'The election is paused',
  not_switched_over: 'The member named does not lead',
  etcd_unreachable: 'etcd did not answer in time',
  etcd_denied: 'etcd does not allow this',
  etcd_refused: 'etcd refused this',
  etcd_other_cluster: 'The endpoint belongs to another etcd cluster',
  etcd_went_back: 'etcd is older than it was',
  unavailable: 'This cannot be had now',
} as const;

export type ProblemCode = keyof typeof titles;
/** What each code means, for the reference. */
export const problemTitles: Readonly<Record<ProblemCode, string>> = titles;
export const problemCodes = Object.keys(titles) as ProblemCode[];

/** Ends a request with a problem; `extra` adds members to the body, `headers` to the header. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly problem: Problem & Record<string, unknown>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: ProblemCode,
    detail: string,
    more: {
      readonly extra?: Record<string, unknown>;
      readonly headers?: Record<string, string>;
    } = {},
  ) {
    super(detail);
    this.problem = { ...problem(status, code, detail), ...more.extra };
    this.headers = more.headers ?? {};
  }
}

export function problem(status: number, code: ProblemCode, detail: string): Problem {
  return { type: `urn:electord:problem:${code}`, title: titles[code], status, code, detail };
}

const codesOfEtcd = [
  'etcd_unreachable',
  'etcd_denied',
  'etcd_refused',
  'etcd_other_cluster',
  'etcd_went_back',
] as const satisfies readonly ProblemCode[];

/** What a client is told of a failure; null for one that nobody expected. */
export function refusalOf(failure: unknown): Refusal | null {
  if (failure instanceof Refusal) return failure;
  if (failure instanceof FencedOut) return new Refusal(409, 'fenced_out', failure.message);
  if (!(failure instanceof ElectordError)) return null;
  const code = codesOfEtcd.find((each) => each === failure.code) ?? 'unavailable';
  return new Refusal(503, code, failure.message);
}

/** What came from outside, cut short before it is said back. */
export function quoted(text: string): string {
  const longest = 128;
  return `"${text.length > longest ? `${text.slice(0, longest)}…` : text}"`;
}
