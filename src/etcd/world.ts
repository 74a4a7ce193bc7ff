// Which etcd we talk to, and how far it has come, by the header of every answer. What another cluster answers is no
// answer, and neither is what ours answers at a revision that it had passed before it was asked: it came back empty, or
// from an older backup, and would give out fencing tokens that were given before.
import { EtcdWentBack, OtherCluster } from '../errors.ts';

/** Of an answer; a proxy of etcd leaves some of it 0. */
export interface Header {
  readonly cluster_id: string;
  readonly revision: string;
}

export class World {
  #cluster: string | null = null;
  #newest = 0n;
  /** Where etcd stood when it was found to have gone back; null while it has not. */
  #wentBackTo: bigint | null = null;

  /** The greatest revision seen so far: no answer to a linearizable request that is sent from here on is below it. */
  get newest(): bigint {
    return this.#newest;
  }

  /** Null while etcd has not gone back. */
  wentBack(): EtcdWentBack | null {
    if (this.#wentBackTo === null) return null;
    const [there, here] = [this.#wentBackTo, this.#newest].map(String);
    return new EtcdWentBack(
      `etcd has gone back to revision ${there} and was at ${here}: it came back empty or from an older backup, and fencing tokens would be given twice`,
    );
  }

  /**
   * Takes in an answer; `floor` is `newest` when a linearizable request was sent, null for any other. The first cluster
   * that answers is ours. Throws OtherCluster, or EtcdWentBack.
   */
  judge(url: string, header: Header | null, floor: bigint | null): void {
    if (header === null) return;
    this.#judgeCluster(url, header.cluster_id);
    const revision = BigInt(header.revision);
    if (floor !== null) this.#wentBackTo = revision < floor ? revision : null;
    const failure = this.wentBack();
    if (failure !== null) throw failure;
    if (revision > this.#newest) this.#newest = revision;
  }

  #judgeCluster(url: string, cluster: string): void {
    if (cluster === '0') return;
    this.#cluster ??= cluster;
    if (cluster === this.#cluster) return;
    const [theirs, ours] = [cluster, this.#cluster].map((id) => BigInt(id).toString(16));
    throw new OtherCluster(`${url} belongs to etcd cluster ${theirs}, and ours is ${ours}`);
  }
}
