// The simulator's model of etcd as a subject of the contract: virtual time passes only while something is awaited.
import { leaseId, memberId } from '../../src/core/model.ts';
import { ModelEtcd } from '../sim/model-etcd.ts';
import { Network } from '../sim/network.ts';
import { Process } from '../sim/process.ts';
import { Random } from '../sim/random.ts';
import { Scheduler } from '../sim/scheduler.ts';
import { ElectordError } from '../../src/errors.ts';
import { SimCoordinator, toldNothing } from '../sim/sim-coordinator.ts';
import type { Copy, Subject } from './subject.ts';

const fine = {
  leastMs: 0.5,
  mostMs: 2,
  lossChance: 0,
  spikeChance: 0,
  spikeMs: 0,
  copyChance: 0,
  copyMs: 0,
};
const withinMs = 15_000;
/** Virtual time passes in steps of this. */
const stepMs = 1;

export function modelSubject(seed: number): Subject {
  const random = new Random(seed, 'contract');
  const scheduler = new Scheduler();
  const etcd = new ModelEtcd(scheduler, random, 2000);
  const network = new Network(scheduler, etcd, fine, 1);
  const process = new Process(scheduler, random, { rate: 1, timerLateByMs: 1 }, () => undefined);
  const coordinator = new SimCoordinator({
    scheduler,
    etcd,
    network,
    side: network.side(random),
    process,
    ttlMs: 2000,
    told: toldNothing(),
    leaseLost: () => undefined,
    trace: null,
  });
  const sent: Copy[] = [];
  const request = coordinator.request.bind(coordinator);
  coordinator.request = (operation, execute, ended) => {
    const again = (): Promise<void> => {
      try {
        execute(0);
      } catch (failure) {
        if (!(failure instanceof ElectordError)) throw failure;
      }
      return Promise.resolve();
    };
    sent.push({ operation, again });
    return request(operation, execute, ended);
  };
  const until = async (check: () => boolean, what: string): Promise<void> => {
    const deadline = scheduler.now + withinMs;
    while (!check() && scheduler.now < deadline) {
      await scheduler.run(scheduler.now + stepMs, check);
      // Whoever awaits an answer may want to ask the next thing.
      for (let turn = 0; turn < 8; turn += 1) await Promise.resolve();
    }
    if (!check()) throw new Error(`${what}: not within ${withinMs} ms`);
  };
  const run = async <Value>(work: Promise<Value>): Promise<Value> => {
    let settled = false;
    const settle = (): void => {
      settled = true;
    };
    work.then(settle, settle);
    await until(() => settled, 'an answer');
    return work;
  };
  return {
    coordinator,
    sent,
    now: () => process.now(),
    newLease: () => leaseId((1 + random.below(0xfffffff)).toString(16)),
    run,
    until,
    putForeign: (election, lease, value) => {
      etcd.putForeign(election, lease, memberId(value));
      return Promise.resolve();
    },
    deleteCandidate: (election, lease) => {
      etcd.deleteByHand(election, lease);
      return Promise.resolve();
    },
    published: (key) => Promise.resolve(etcd.published(key)),
    putByHand: (key, value) => {
      etcd.putByHand(key, value);
      return Promise.resolve();
    },
    compact: () => {
      etcd.compact();
      return Promise.resolve();
    },
    interrupt: () => coordinator.watches.forEach((watch) => watch.break()),
    stop: () => {
      coordinator.close();
      return Promise.resolve();
    },
  };
}
