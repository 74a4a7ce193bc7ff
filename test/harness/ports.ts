// Ports for tests that many test processes start servers on at once. A port is reserved, by a file in
// the temporary folder, until this process ends, so that a server can be killed and started again on
// the same port; it is taken from below the range that the system gives to outgoing connections,
// which would otherwise now and then sit on the port of a server that is just down.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

const lowest = 12_000;
const folder = join(tmpdir(), `electord-test-ports-${userInfo().uid}`);
const reserved = new Set<number>();

/** The first port that the system may give to an outgoing connection. */
function firstEphemeral(): number {
  try {
    const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
    const first = Number(range.trim().split(/\s+/)[0]);
    return first > lowest + 1_000 ? first : 32_768;
  } catch {
    return 32_768;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Takes the port for this process; false when a living process has it. */
function reserve(port: number): boolean {
  const file = join(folder, String(port));
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' });
    return true;
  } catch {
    return false;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      server.close(() => resolve(true));
    });
  });
}

/** Frees what processes that are gone have left behind. */
function sweep(): void {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) {
    const file = join(folder, name);
    try {
      const text = readFileSync(file, 'utf8');
      if (text !== '' && !isAlive(Number(text))) rmSync(file, { force: true });
    } catch {
      // Another process swept it first.
    }
  }
}

process.on('exit', () => {
  for (const port of reserved) rmSync(join(folder, String(port)), { force: true });
});

/**
 * A port of 127.0.0.1 that is free and stays reserved for this process until it ends.
 *
 * @param from the first to try, at random by default so that processes seldom meet
 * @throws Error when a thousand ports in a row are taken.
 */
export async function reservePort(from?: number): Promise<number> {
  if (reserved.size === 0) sweep();
  const range = firstEphemeral() - lowest;
  const start = from === undefined ? Math.floor(Math.random() * range) : from - lowest;
  for (let step = 0; step < 1_000; step += 1) {
    const port = lowest + ((start + step) % range);
    if (reserved.has(port) || !reserve(port)) continue;
    reserved.add(port);
    if (await canListen(port)) return port;
  }
  throw new Error('no free port on 127.0.0.1 for a test');
}

/** Several ports, all different. */
export async function reservePorts(count: number, from?: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await reservePort(from));
  return ports;
}
