// `electord wait`: for scripts that go on once this instance leads, or follows, or once anything changed. A sidecar that
// is not there yet is waited for as well.
import type { Leadership } from '../sdk/client.ts';
import type { Client } from '../sdk/client.ts';
import { durationOf, isFinal, withClient, type CommonFlags } from './operator.ts';
import type { Awaitable } from './choices.ts';
import { complain, say, sayJson } from './output.ts';
import { printable } from './table.ts';
import { exitCodes } from './exit-codes.ts';

export interface WaitFlags extends CommonFlags {
  readonly for: Awaitable;
  readonly timeout?: string;
}

/** Resolves with the exit code: 75 where time ran out. */
export function wait(flags: WaitFlags): Promise<number> {
  return withClient(flags, async (client) => {
    const limitMs = flags.timeout === undefined ? null : durationOf('--timeout', flags.timeout);
    const found = await first(client, flags.for, limitMs);
    if (found === null) {
      complain(`${flags.timeout} went by: ${lastSeen(client.leadership())}`);
      return exitCodes.lost;
    }
    if (flags.json === true) sayJson(found);
    else say(sentence(found));
    return exitCodes.clean;
  });
}

/** `any`: somebody leads, whoever it is. A change is none that one state shows. */
const isSo = (now: Leadership, what: Awaitable): boolean =>
  ({
    leader: now.isLeader,
    follower: now.role === 'follower',
    any: now.leader !== null,
    change: false,
  })[what];

/** The first state that was waited for; null where it did not come in time. Rejects where it never can. */
function first(
  client: Client,
  what: Awaitable,
  limitMs: number | null,
): Promise<Leadership | null> {
  return new Promise((resolve, reject) => {
    let began: string | null = null;
    const look = (now: Leadership): void => {
      if (isSo(now, what)) end(now);
      if (what !== 'change' || now.role === 'unknown') return;
      // What is compared is who leads which term: that the sidecar was not heard for a while is no change.
      const seen = `${now.leader?.id} ${now.leader?.fencingToken}`;
      began ??= seen;
      if (seen !== began) end(now);
    };
    const end = (result: Leadership | null): void => {
      clearTimeout(timer);
      unsubscribe();
      resolve(result);
    };
    const unsubscribe = client.onChange(look);
    const timer = limitMs === null ? undefined : setTimeout(() => end(null), limitMs);
    look(client.leadership());
    client.ready().then(look, (failure: unknown) => {
      if (!isFinal(failure)) return;
      clearTimeout(timer);
      reject(failure instanceof Error ? failure : new Error(String(failure)));
    });
  });
}

const named = ({ leader }: Leadership): string =>
  leader === null
    ? 'nobody is known to lead'
    : `${leader.id} leads (fencing token ${leader.fencingToken})`;

function sentence(now: Leadership): string {
  if (now.isLeader) {
    return printable(`${now.id} leads ${now.election} (fencing token ${now.fencingToken}).`);
  }
  return printable(`${now.id} is ${now.role} in ${now.election}; ${named(now)}.`);
}

function lastSeen(now: Leadership): string {
  if (now.election === null) return 'the sidecar did not answer';
  return printable(`${now.id} is ${now.role} in ${now.election}; ${named(now)}`);
}
