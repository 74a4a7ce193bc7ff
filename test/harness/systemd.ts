// What the tests of the service need of systemd: its tools, from the machine or from Debian's package, and
// a datagram socket as a service manager listens on it, which tells what it was sent, message by message.
// It is no service manager: it starts nothing, restarts nothing and judges nothing.
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import { spawnGuarded } from '../../src/dev/etcd-child.ts';
import { findPrograms } from './programs.ts';
import { eventually } from './wait.ts';

/** An environment whose PATH has systemd-notify, systemd-analyze and systemd-sysusers. */
export async function systemdTools(): Promise<NodeJS.ProcessEnv> {
  const { env } = await findPrograms({
    packages: ['systemd'],
    proof: [
      ['systemd-notify', '--version'],
      ['systemd-analyze', '--version'],
      ['systemd-sysusers', '--version'],
    ],
  });
  return env;
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
