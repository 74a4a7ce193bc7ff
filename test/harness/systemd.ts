// What the tests of the service need of systemd: its tools, from the machine or from Debian's package, and
// a datagram socket as a service manager listens on it, which tells what it was sent, message by message.
// It is no service manager: it starts nothing, restarts nothing and judges nothing.
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { tmpdir } from 'node:os';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { runCommand } from '../../src/dev/etcd-command.ts';
import { debianPackages } from './debian-package.ts';
import { eventually } from './wait.ts';

/** An environment whose PATH has systemd-notify, systemd-analyze and systemd-sysusers. */
export async function systemdTools(): Promise<NodeJS.ProcessEnv> {
  const own = await Promise.all(
    ['systemd-notify', 'systemd-analyze', 'systemd-sysusers'].map((tool) =>
      runCommand(tool, ['--version'], { timeoutMs: 20_000 }),
    ),
  );
  if (own.every(({ code }) => code === 0)) return process.env;
  // The one program of the package that does not need its library; the folder differs by release.
  const unpacked = debianPackages(['systemd'], ['bin/systemctl', '--version']);
  const { root, env } = await unpacked.catch(() =>
    debianPackages(['systemd'], ['usr/bin/systemctl', '--version']),
  );
  // The tools load a library of their own from a folder that only they know.
  const libraries = ['usr/lib', 'lib'].flatMap((base) => {
    const folder = join(root, base);
    const names = existsSync(folder) ? readdirSync(folder) : [];
    return ['.', ...names].map((name) => join(folder, name, 'systemd')).filter(existsSync);
  });
  const path = [env['LD_LIBRARY_PATH'] ?? '', ...libraries].join(delimiter);
  return { ...env, LD_LIBRARY_PATH: path };
}

/** A socket for NOTIFY_SOCKET. */
export interface NotifySocket {
  readonly path: string;
  /** Every message so far, in order, as its lines; those of `systemd-notify` itself are left out. */
  readonly messages: readonly (readonly string[])[];
  /** Resolves to the first message, past or future, with such a line. */
  message(line: string | RegExp, withinMs: number): Promise<readonly string[]>;
  close(): Promise<void>;
}

/**
 * Perl, which every Debian and Ubuntu has, because Node has no datagram sockets of this kind. Descriptors
 * that come along (systemd-notify waits until its own is closed) are dropped by the kernel.
 */
const receiver = `
use Socket;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die "socket: $!";
bind($socket, sockaddr_un($ARGV[0])) or die "bind: $!";
$| = 1;
print "ready\\n";
while (defined recv($socket, my $message, 65536, 0)) { print unpack('H*', $message), "\\n"; }
`;

/** Opens a socket in a folder of its own. */
export async function openNotifySocket(): Promise<NotifySocket> {
  const folder = await mkdtemp(join(tmpdir(), 'electord-notify-'));
  const path = join(folder, 'socket');
  const messages: string[][] = [];
  let ready = false;
  const child = await spawnGuarded({
    file: 'perl',
    args: ['-e', receiver, path],
    env: process.env,
    onLine: (line, stream) => {
      if (stream === 'stderr') return;
      if (line === 'ready') ready = true;
      else messages.push(Buffer.from(line, 'hex').toString('utf8').trimEnd().split('\n'));
    },
  });
  const isIn = (line: string | RegExp) => (message: readonly string[]) =>
    message.some((each) => (typeof line === 'string' ? each === line : line.test(each)));
  const heard = (): string[][] => messages.filter(([first]) => first !== 'BARRIER=1');
  await eventually(() => ready, { withinMs: 20_000, what: `a socket at ${path}` });
  return {
    path,
    get messages() {
      return heard();
    },
    message: async (line, withinMs) => {
      const what = `${String(line)} among ${JSON.stringify(heard())}`;
      return eventually(() => heard().find(isIn(line)), { withinMs, what });
    },
    close: async () => {
      await child.stop(2_000);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
