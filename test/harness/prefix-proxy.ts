// A proxy as operators put one before a sidecar: under another name, with a path of its own that it takes off, and with the
// browser's own `Host` handed on. It streams what it is given.
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface PrefixProxy {
  /** `http://NAME:PORT/PREFIX`, without a slash at the end. */
  readonly url: string;
  /** Paths that were asked for, as the sidecar gets them. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

export interface PrefixProxyOptions {
  /** Where to, once that is known. */
  readonly target: () => string;
  readonly name: string;
  /** `/a/b` */
  readonly prefix: string;
  /** Answered with 404 by the proxy itself. */
  readonly withholds?: (path: string) => boolean;
}

export async function startPrefixProxy(options: PrefixProxyOptions): Promise<PrefixProxy> {
  const { target, name, prefix, withholds = () => false } = options;
  const asked: string[] = [];
  const server = createServer((from, to) => {
    const { url = '/', method, headers } = from;
    const inside =
      url === prefix ? '/' : url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : null;
    if (inside === null || withholds(inside)) {
      to.writeHead(404).end();
      return;
    }
    asked.push(inside);
    const onward = request(`${target()}${inside}`, { method, headers, agent: false }, (answer) => {
      to.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(to);
    });
    onward.on('error', () => to.destroy());
    to.on('close', () => onward.destroy());
    from.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${name}:${port}${prefix}`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
