// Errors as clients see them: RFC 9457 with a stable `code`. Codes are part of the contract; details are not.
import type { Problem } from '../contract.ts';

const titles = {
  not_found: 'There is nothing under this path',
  unknown_election: 'This instance does not know that election',
  election_required: 'The path must name an election',
  method_not_allowed: 'The path does not know this method',
  malformed_request: 'The request cannot be read',
  header_too_large: 'The header of the request is too large',
  request_timeout: 'The request did not arrive in time',
  internal_error: 'Something went wrong here',
} as const;

export type ProblemCode = keyof typeof titles;

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

/** What came from outside, cut short before it is said back. */
export function quoted(text: string): string {
  const longest = 128;
  return `"${text.length > longest ? `${text.slice(0, longest)}…` : text}"`;
}
