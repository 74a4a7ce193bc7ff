// The contract on the simulator's model of etcd.
import { coordinatorContract } from './coordinator-contract.ts';
import { modelSubject } from './model-subject.ts';

coordinatorContract('the model', () => Promise.resolve(modelSubject(1)));
