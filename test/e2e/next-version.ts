// A bundle of a version that does not exist yet: today's sources with small changes, so that every record in etcd has a
// later format with fields that today's program has never heard of, and a term may end by a cause that it does not know.
import type { Patch } from '../sim/bundle.ts';
import { buildPatched, type PatchedVersion } from './patched-version.ts';

/** The format of every record that the next version writes; today's is 1. */
export const nextFormat = 2;
/** Why a term ends that an operator ended with `step-down`, as the next version calls it. */
export const nextCause = 'relieved';

/** Ahead of what is known, with a name of each kind of JSON, and one that elsewhere has another type. */
const moreFields = `v: formatVersion, zone: 'north', weight: 0.5, tags: ['a', { b: null }], v1: { v: 1 }, ...fields`;

const changes: readonly Patch[] = [
  {
    file: 'src/etcd/fields.ts',
    find: 'const formatVersion = 1;',
    put: `const formatVersion = ${nextFormat};`,
  },
  { file: 'src/etcd/fields.ts', find: 'v: formatVersion, ...fields', put: moreFields },
  { file: 'src/core/model.ts', find: "'resigned',", put: `'resigned', '${nextCause}',` },
  { file: 'src/http/verbs.ts', find: "cause: 'resigned'", put: `cause: '${nextCause}'` },
  {
    file: 'src/process/version.ts',
    find: "=== 'string' ? __ELECTORD_VERSION__",
    put: "=== 'string' ? `${__ELECTORD_VERSION__}-next`",
  },
];

export const buildNextVersion = (): Promise<PatchedVersion> => buildPatched(changes);
