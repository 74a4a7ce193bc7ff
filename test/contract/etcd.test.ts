// The contract on real etcd, of both series.
import { coordinatorContract } from './coordinator-contract.ts';
import { etcdSubject } from './etcd-subject.ts';

coordinatorContract('etcd 3.4', () => etcdSubject('3.4'));
coordinatorContract('etcd 3.5', () => etcdSubject('3.5'));
