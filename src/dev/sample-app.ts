// The app that stands beside each sidecar in `electord dev`: a shop that takes orders, of which only
// one copy may. It is the example of how an app uses electord: before each write it asks its own
// sidecar for a hold, counts it from before it asked, and keeps the fencing token with what it
// writes. It does not store anything anywhere but in its memory.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { askLeader } from './leader-answer.ts';

/** How long the app waits for its own sidecar, on the same machine. */
const SIDECAR_BOUND_MS = 500;
/** So long nobody else may lead: far longer than an order takes, and within the short lease of fast failover. */
const HOLD_MS = 200;

/** What one copy of the sample app has to know. */
export interface SampleAppOptions {
  readonly name: string;
  readonly port: number;
  /** Its own sidecar's local listener. */
  readonly sidecar: string;
}

/** Serves until the process gets SIGTERM. */
export function runSampleApp(options: SampleAppOptions): Promise<number> {
  const orders: { item: string; fencingToken: string }[] = [];

  const takeOrder = async (item: string, response: ServerResponse): Promise<void> => {
    const answer = await askLeader(options.sidecar, SIDECAR_BOUND_MS, HOLD_MS);
    if (answer === null) {
      reply(response, 503, { app: options.name, error: 'my sidecar does not answer' });
      return;
    }
    const heldUntilMs = answer.sentAtMs + answer.heldForMs;
    if (answer.isLeader && answer.fencingToken !== null && performance.now() < heldUntilMs) {
      // A store shared with others would get the token too, and refuse one lower than it has seen.
      const order = { item, fencingToken: String(answer.fencingToken) };
      orders.push(order);
      reply(response, 201, { app: options.name, order: { number: orders.length, ...order } });
      return;
    }
    const address = answer.leader?.address ?? null;
    if (address === null || answer.leader?.id === answer.id) {
      response.setHeader('Retry-After', '1');
      reply(response, 503, { app: options.name, error: 'nobody leads just now' });
      return;
    }
    response.setHeader('Location', `${address}/orders`);
    reply(response, 307, { app: options.name, error: `${answer.leader?.id ?? ''} takes orders` });
  };

  const introduce = async (response: ServerResponse): Promise<void> => {
    const answer = await askLeader(options.sidecar, SIDECAR_BOUND_MS);
    reply(response, 200, {
      app: options.name,
      role: answer?.role ?? 'unknown',
      leader: answer?.leader?.id ?? null,
      ordersTaken: orders.length,
    });
  };

  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (path === '/orders' && request.method === 'POST') {
      void readText(request).then((item) => takeOrder(item, response));
    } else if (path === '/healthz') {
      // Of itself only: whether its sidecar is well, or etcd, must not keep it from leading.
      request.resume();
      reply(response, 200, { app: options.name });
    } else if (path === '/' && request.method === 'GET') {
      void introduce(response);
    } else {
      request.resume();
      reply(response, 404, { app: options.name, error: 'try GET / or POST /orders' });
    }
  });

  return new Promise((resolve, reject) => {
    server.once('error', reject);
    process.once('SIGTERM', () => {
      resolve(0);
    });
    server.listen(options.port, '127.0.0.1');
  });
}

function reply(response: ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, { 'Content-Type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

/** The first kilobyte of what was posted: an order is a word or two. */
async function readText(request: IncomingMessage): Promise<string> {
  let text = '';
  try {
    for await (const part of request.setEncoding('utf8')) {
      if (text.length < 1024) text += String(part);
    }
  } catch {
    // The customer went away in the middle of a sentence: what was heard is the order.
  }
  return text.slice(0, 1024);
}
