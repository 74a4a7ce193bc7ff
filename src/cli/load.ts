// From the process's arguments, environment and files to a checked configuration, or to every fault at once.
import { readFileSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { loadConfiguration, type LoadResult } from '../config/configuration.ts';
import { networkOf } from '../config/network.ts';

/** What commander gives for the settings' flags. */
export type Flags = Parameters<typeof loadConfiguration>[0]['flags'];

/** Reads the configuration anew, as at start and at SIGHUP. */
export const load = (flags: Flags): LoadResult =>
  loadConfiguration({
    flags,
    environment: process.env,
    readFile: (path) => readFileSync(path, 'utf8'),
    hostName: hostname(),
    ...networkOf(networkInterfaces()),
  });
