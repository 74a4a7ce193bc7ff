// What a hook or a child is told: the same facts as variables of its environment and as the body of a POST.
import type { Cause, ElectionName, FencingToken, MemberId } from '../core/model.ts';

/** What every command beside us may know. */
export interface Surroundings {
  readonly id: MemberId;
  /** Our own environment. */
  readonly ownEnvironment: NodeJS.ProcessEnv;
  /** The variables that hold a secret of ours and are not handed on. */
  readonly secretVariables: readonly string[];
  /** Where our local listener is: a URL, or `unix:/path`. */
  readonly localUrl: () => string;
  /** Settings that tell how to ask that by https, as variables. */
  readonly localTls?: () => Readonly<Record<string, string>>;
}

export interface Occasion {
  readonly event: 'elected' | 'step-down';
  readonly election: ElectionName;
  readonly token: FencingToken;
  readonly cause: Cause;
  /** When the hook will be killed, as wall-clock time (ISO 8601) and from now; null on election. */
  readonly mustStop: { readonly by: string; readonly inMs: number } | null;
}

/** The environment of every command: ours without our secrets. */
export function cleanEnvironment({
  ownEnvironment,
  secretVariables,
}: Surroundings): NodeJS.ProcessEnv {
  const kept = Object.entries(ownEnvironment).filter(([name]) => !secretVariables.includes(name));
  return Object.fromEntries(kept);
}

/** The environment of the child of `run`. */
export const childEnvironment = (
  surroundings: Surroundings,
  election: ElectionName,
  token: FencingToken,
): NodeJS.ProcessEnv => ({
  ...cleanEnvironment(surroundings),
  ELECTORD_ELECTION: election,
  ELECTORD_ID: surroundings.id,
  ELECTORD_FENCING_TOKEN: token.toString(),
  ELECTORD_LOCAL_URL: surroundings.localUrl(),
  ...surroundings.localTls?.(),
});

/** The environment of a hook. */
export function hookEnvironment(
  surroundings: Surroundings,
  { event, election, token, cause, mustStop }: Occasion,
): NodeJS.ProcessEnv {
  return {
    ...childEnvironment(surroundings, election, token),
    ELECTORD_EVENT: event,
    ELECTORD_CAUSE: cause,
    ...(mustStop === null
      ? {}
      : {
          ELECTORD_MUST_STOP_BY: mustStop.by,
          ELECTORD_MUST_STOP_IN_MS: mustStop.inMs.toString(),
        }),
  };
}

/** The body of a hook's POST. */
export function hookBody(
  { id, localUrl }: Surroundings,
  { event, election, token, cause, mustStop }: Occasion,
): string {
  return JSON.stringify({
    event,
    election,
    id,
    fencingToken: token.toString(),
    cause,
    mustStopBy: mustStop?.by ?? null,
    mustStopInMs: mustStop?.inMs ?? null,
    localUrl: localUrl(),
  });
}
