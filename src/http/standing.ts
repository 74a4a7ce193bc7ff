// Who else could lead, and why the others cannot: for verbs that would otherwise leave an election without a leader, and for
// whoever has to mend one that has none. Judged by what members say of themselves in etcd; of ourselves we know more.
import type { Control, Member } from '../core/model.ts';
import type { Report } from '../core/report.ts';
import { standsBackUntil } from './answers.ts';
import type { Asked } from './exchange.ts';
import type { Inputs } from './inputs.ts';
import { Refusal } from './problems.ts';
import { comesWithinMs, waitFor } from './waiting.ts';

/** Why a member does not lead, and what would help: both continue a sentence. */
export interface Hindrance {
  readonly id: string;
  readonly why: string;
  readonly helps: string;
}

/** So many stand in a sentence; the member `members` of the problem has all of them. */
const namedAtMost = 10;

function hindranceOf(
  { id, priority, healthy }: Member,
  control: Control | null,
  own: Report,
  inputs: Inputs,
): Hindrance {
  if (priority < 0) {
    return { id, why: `never leads: its priority is ${priority}`, helps: 'raise it to 0 or more' };
  }
  if (!healthy) return { id, why: 'has an app that is not healthy', helps: 'mend its app' };
  if (control !== null) {
    const until = control.until === null ? '' : ` until ${control.until}`;
    return { id, why: `waits: the election is paused${until}`, helps: 'resume it' };
  }
  const until = id === own.id ? standsBackUntil(own, inputs) : null;
  if (until !== null) return { id, why: `stands back until ${until}`, helps: 'force a switchover' };
  const helps = 'its own status says why; if it stands back, force a switchover there';
  return { id, why: 'is present and does not stand', helps };
}

/** Of each of these members. */
export const hindrances = (
  members: readonly Member[],
  control: Control | null,
  own: Report,
  inputs: Inputs,
): readonly Hindrance[] => members.map((member) => hindranceOf(member, control, own, inputs));

/** `b has an app that is not healthy (mend its app); c never leads: …`. */
export function sentence(found: readonly Hindrance[]): string {
  if (found.length === 0) return 'no other sidecar is present';
  const some = found.slice(0, namedAtMost).map(({ id, why, helps }) => `${id} ${why} (${helps})`);
  const rest = found.length - some.length;
  return [...some, ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ');
}

/**
 * Whether another one leads, or stands in the queue: who is listed there is able to. In a pause all of ours are on their way out
 * of it.
 */
const isAnybodyElse = ({ id: own, leader, candidates, control }: Report): boolean =>
  (leader !== null && leader.id !== own) ||
  candidates.some(({ id, native }) => id !== own && (control === null || !native));

/** Refuses where this would leave nobody who can lead. Somebody who is only just coming is waited for. */
export async function expectSomebodyElse(
  asked: Pick<Asked, 'inputs' | 'onGone'> & { readonly report: Report },
): Promise<void> {
  const { inputs, report: before } = asked;
  const report = (): Report => inputs.elections.report(before.election);
  const found = await waitFor(asked, () => isAnybodyElse(report()) || null, comesWithinMs);
  if (found !== null) return;
  const own = report();
  const others = own.members.filter(({ id }) => id !== own.id);
  const members = hindrances(others, own.control, own, inputs);
  const detail = `nobody would lead: ${sentence(members)}; force it to do so all the same`;
  throw new Refusal(409, 'nobody_else', detail, { extra: { members } });
}
