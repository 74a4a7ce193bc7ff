// Reads more keys than fit into one answer, in pages, whatever their size: a value may be 1 MiB, one of another program
// the 1.5 MiB that etcd takes, and gRPC takes 4 MiB in one answer.
import type { IKeyValue, IRangeRequest, ITxnResponse } from 'etcd3';
import { isTooLarge } from './faults.ts';
import { justBehind } from './keys.ts';
import { rangeOf } from './requests.ts';

/** Small, but where values are large. */
const keysPerRead = 64;

export interface Page {
  readonly kvs: readonly IKeyValue[];
  /** Whether there are keys behind them. */
  readonly more: boolean;
}

/** What answer number `index` of a transaction says. */
export const pageIn = ({ responses }: ITxnResponse, index: number): Page => {
  const { kvs = [], more = false } = responses[index]?.response_range ?? {};
  return { kvs, more };
};

/**
 * The keys of a tree in their order, from `from` on. `send` sends the range that it is given, with what belongs to it.
 * Where the answer does not fit, it is asked for a quarter of it, and for twice as many the next time.
 */
export async function* pagesOf<Answer extends Page>(
  tree: string,
  from: string,
  send: (range: IRangeRequest & { readonly limit: number }) => Promise<Answer>,
): AsyncGenerator<Answer> {
  let key: Buffer = Buffer.from(from);
  let limit = keysPerRead;
  for (;;) {
    const page = await send({ ...rangeOf(tree, key), limit }).catch((failure: unknown) => {
      if (!isTooLarge(failure) || limit === 1) throw failure;
      return null;
    });
    if (page === null) {
      limit = Math.ceil(limit / 4);
      continue;
    }
    yield page;
    const last = page.kvs.at(-1);
    if (last === undefined || !page.more) return;
    key = justBehind(last.key);
    limit = Math.min(keysPerRead, limit * 2);
  }
}
