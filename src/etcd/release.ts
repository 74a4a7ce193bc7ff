// How a key is released, by itself or by a witness, where etcd does not take all that is to be written with it: with less and
// less. What a term has published is then taken back by itself, as well as that can be.
import type { ITxnRequest, ITxnResponse } from 'etcd3';
import type { Answer, Deposed, Deposition, Release, Released } from '../ports.ts';
import { asksTooMuch, isRefusal } from './faults.ts';
import type { ElectionKeys } from './keys.ts';
import { unpublish } from './publication.ts';
import {
  deposeTransaction,
  readDeposed,
  readReleased,
  releaseTransaction,
  simplerRelease,
  type ReleaseForm,
} from './transactions.ts';

type Ask = (request: ITxnRequest) => Promise<Answer<ITxnResponse>>;

/** `published`: the keys that the term that ends may have published. */
export async function releaseKey(
  ask: Ask,
  keys: ElectionKeys,
  request: Release,
  published: readonly string[],
): Promise<Answer<Released>> {
  let form: ReleaseForm = { ...request, marked: true, published };
  for (;;) {
    try {
      const { value, sentAt } = await ask(releaseTransaction(keys, form));
      if (form.published.length < published.length) takeBack(ask, request, published);
      return { value: readReleased(keys, value), sentAt };
    } catch (failure) {
      const simpler = isRefusal(failure) ? simplerRelease(form, asksTooMuch(failure)) : null;
      if (simpler === null) throw failure;
      form = simpler;
    }
  }
}

export async function deposeLeader(
  ask: Ask,
  keys: ElectionKeys,
  request: Deposition,
  published: readonly string[],
): Promise<Answer<Deposed>> {
  const depose = async (
    more: Pick<ReleaseForm, 'marked' | 'published'>,
  ): Promise<Answer<Deposed>> => {
    const { value, sentAt } = await ask(deposeTransaction(keys, { ...request, ...more }));
    return { value: readDeposed(keys, request, value), sentAt };
  };
  try {
    return await depose({ marked: true, published });
  } catch (failure) {
    if (!isRefusal(failure)) throw failure;
    // A role may not write marks; an end without a record would be none that a successor can trust.
    const deposed = await depose({ marked: false, published: [] });
    takeBack(ask, request, published);
    return deposed;
  }
}

/** Where it cannot be, the lease or the next leader ends it. */
function takeBack(ask: Ask, { leaseId }: Release, published: readonly string[]): void {
  if (published.length === 0) return;
  ask({ success: [...unpublish(published, leaseId)] }).catch(() => undefined);
}
