// The page of the local listener: the same, with the operator's verbs.
import { start } from './start.ts';
import { installVerbs } from './verbs.ts';

start(installVerbs);
