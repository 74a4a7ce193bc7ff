// The page of the public listener: it shows, and has no code that could change anything.
import { start } from './start.ts';

start(null);
