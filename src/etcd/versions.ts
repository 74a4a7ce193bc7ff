// Which versions of etcd have known faults that concern an election, and in which patch they are mended.

/** The first version of each minor one in which a linearizable read is never stale after a pause of the process. */
const leastPatches: Readonly<Record<string, number>> = { '3.4': 42, '3.5': 28, '3.6': 9 };

/** Why this version of etcd is to be replaced, null where nothing is known against it. */
export function versionWarning(url: string, version: string): string | null {
  const [, minor = '', patch = ''] = /^(\d+\.\d+)\.(\d+)/.exec(version) ?? [];
  const least = leastPatches[minor];
  if (least === undefined || Number(patch) >= least) return null;
  return `${url} is etcd ${version}: before 3.5.28 and 3.6.9 a read may be stale after a pause of etcd's process, and a renewal may be answered for a lease that is gone; upgrade it`;
}
