// The contract on real etcd, of every series.
import { etcdSeries } from '../harness/binaries.ts';
import { coordinatorContract } from './coordinator-contract.ts';
import { etcdSubject } from './etcd-subject.ts';

for (const series of etcdSeries) coordinatorContract(`etcd ${series}`, () => etcdSubject(series));
