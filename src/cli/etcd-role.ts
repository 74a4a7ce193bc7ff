// `electord etcd-role`: the etcdctl commands that make a user of etcd who may do what a sidecar does, and nothing else.
// It asks nobody: what it prints is for an administrator of etcd to run.
import { leastRole } from '../etcd/access.ts';
import { exitCodes } from './exit-codes.ts';
import type { Flags } from './load.ts';
import { say } from './output.ts';
import { settingsOf } from './start.ts';

export interface EtcdRoleFlags {
  /** The name of the user and of its role. */
  readonly user: string;
}

const quoted = (text: string): string =>
  /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** The exit code; 78 where the settings cannot be used. */
export function etcdRole({ user, ...settings }: Flags & EtcdRoleFlags): number {
  const read = settingsOf(settings);
  if (read === null) return exitCodes.configuration;
  const { elections, prefix, publish } = read.configuration;
  const role = leastRole(prefix, elections, publish);
  const name = quoted(user);
  const grant = `etcdctl role grant-permission ${name}`;
  say(`etcdctl role add ${name}`);
  for (const tree of role.trees) say(`${grant} readwrite --prefix=true ${quoted(tree)}`);
  for (const key of role.keys) say(`${grant} readwrite ${quoted(key)}`);
  for (const key of role.read) say(`${grant} read ${quoted(key)}`);
  say(`etcdctl user add ${name}`);
  say(`etcdctl user grant-role ${name} ${name}`);
  return exitCodes.clean;
}
