// What a health check asks by a name, for protocols other than HTTP: the same answers as those of the probes, by the same
// functions, computed when they are asked.
import type { ElectionName } from '../core/model.ts';
import { leaderAnswer } from './answers.ts';
import { readinessAnswer } from './health.ts';
import type { Inputs } from './inputs.ts';
import { follower } from './probes.ts';

/**
 * `` and `ready` as `/readyz`; `leader` and `follower` as those paths, where there is just one election; the name of an
 * election as its `/leader`. Null for any other name.
 */
export function servingOf(inputs: Inputs): (service: string) => boolean | null {
  const { elections } = inputs;
  const { names } = elections;
  const known: ReadonlySet<string> = new Set(names);
  const sole = names.length === 1 ? names[0] : undefined;
  const leads = (name: ElectionName): boolean =>
    leaderAnswer(elections.report(name), inputs).isLeader;
  return (service) => {
    if (service === '' || service === 'ready') return readinessAnswer(inputs).status === 'ok';
    if (sole !== undefined && service === 'leader') return leads(sole);
    if (sole !== undefined && service === 'follower')
      return follower(elections.report(sole), inputs).status === 200;
    return known.has(service) ? leads(service as ElectionName) : null;
  };
}
