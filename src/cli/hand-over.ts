// `electord hand-over`: what a supervisor runs before it ends this sidecar (preStop in Kubernetes). Each election that the
// sidecar leads goes to the healthy candidate that stands last in the queue: in a rollout that is one that was replaced
// already, or is new, and will not be replaced again. It knows the settings of `serve`, and so how its own sidecar is asked.
import { localUrlOf } from '../config/addresses.ts';
import { askTlsOf } from '../config/own-tls.ts';
import type { MembersAnswer } from '../contract.ts';
import { operate, type ConnectOptions, type Operator } from '../sdk/client.ts';
import { exitCodes } from './exit-codes.ts';
import type { Flags } from './load.ts';
import { guarded } from './operator.ts';
import { complain, failedCode, say } from './output.ts';
import { inTurn, said } from './operator-verb.ts';
import { settingsOf, type Settings } from './start.ts';
import { printable } from './table.ts';

export interface HandOverFlags {
  readonly reason?: string;
}

/** Resolves with the exit code: 1 where an election is led and was not handed over, or the sidecar cannot be asked. */
export function handOver({
  reason = 'this instance ends',
  ...flags
}: Flags & HandOverFlags): Promise<number> {
  const own = settingsOf(flags);
  if (own === null) return Promise.resolve(exitCodes.configuration);
  const options = wayTo(own);
  const withinMs = own.configuration.graceMs;
  const ask = async <Answer>(
    election: string | null,
    question: (operator: Operator) => Promise<Answer>,
  ): Promise<Answer> => {
    const operator = operate(election === null ? options : { ...options, election });
    return question(operator).finally(() => operator.close());
  };
  const one = (election: string): Promise<number> =>
    guarded({}, () =>
      ask(election, (operator) => toTheLast(operator, { election, reason, withinMs })),
    );
  return guarded({}, async () => {
    const elections = await ask(null, (operator) => operator.elections());
    const led = elections.filter(({ isLeader }) => isLeader);
    if (led.length === 0) say('nothing to hand over: this instance leads no election');
    return inTurn(
      led.map(({ election }) => election),
      one,
    );
  });
}

interface HandOver {
  readonly election: string;
  readonly reason: string;
  readonly withinMs: number;
}

async function toTheLast(
  operator: Operator,
  { election, reason, withinMs }: HandOver,
): Promise<number> {
  const to = lastOf(await operator.members());
  if (to === null) {
    complain(`nobody can take over ${election}: no other healthy candidate stands in its queue`);
    return failedCode;
  }
  const { detail } = await operator.switchover({ to, ...said({ reason }) }, withinMs);
  say(printable(`${election}: ${detail}`));
  return exitCodes.clean;
}

function lastOf({ members }: MembersAnswer): string | null {
  const able = members.filter(
    ({ self, place, healthy, native }) => !self && place !== null && healthy && native,
  );
  return able.sort((a, b) => (b.place ?? 0) - (a.place ?? 0))[0]?.id ?? null;
}

/** The sidecar with these settings: its local listener, its token, and its own certificate, which is expected and shown. */
function wayTo(own: Settings): ConnectOptions {
  const { ELECTORD_LOCAL_URL: told = '' } = process.env;
  const { token, tlsCert } = own.credentials;
  const { cert, key } = askTlsOf(own);
  const tls =
    tlsCert === null || cert === null || key === null
      ? {}
      : {
          ca: tlsCert,
          cert,
          key,
          allowPartialTrustChain: true,
          // It is asked at an address of this machine, for which few certificates are made.
          checkServerIdentity: () => undefined,
        };
  return {
    url: told === '' ? localUrlOf(own.configuration) : told,
    ...(token === null ? {} : { token: token.reveal() }),
    tls,
  };
}
