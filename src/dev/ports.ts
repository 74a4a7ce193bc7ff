// Ports on this machine for what `electord dev` starts: the well-known ones where they are free, else
// whichever the system gives. A port that is free now may be taken a moment later; whoever was to
// listen on it then says so and ends.
import { createServer } from 'node:net';

/**
 * One free port on 127.0.0.1 for each wish, all different.
 * @param preferred a port to try first for each one wanted
 */
export async function freePorts(preferred: readonly number[]): Promise<number[]> {
  const chosen: number[] = [];
  for (const port of preferred) {
    const isUsable = !chosen.includes(port) && (await tryPort(port)) !== null;
    chosen.push(isUsable ? port : await anyPort(chosen));
  }
  return chosen;
}

async function anyPort(taken: readonly number[]): Promise<number> {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const port = await tryPort(0);
    if (port !== null && !taken.includes(port)) return port;
  }
  throw new Error('no free port on 127.0.0.1');
}

/** The port that could be listened on, or null. */
function tryPort(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(null);
    });
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      server.close(() => {
        resolve(typeof address === 'object' && address !== null ? address.port : null);
      });
    });
  });
}
