// The app beside each sidecar of docker-compose.yml: anybody may read from it, only the leader takes
// writes. It shows how an app uses electord: before each write it asks its own sidecar for a hold,
// counts it from before it asked, and keeps the fencing token with what it writes. It stores nothing
// but in its memory.
import { createServer } from 'node:http';

const { fetch, AbortSignal, performance } = globalThis;
const name = process.env.APP_NAME ?? 'app';
const port = Number(process.env.APP_PORT ?? 8080);
const sidecar = process.env.APP_SIDECAR ?? 'http://127.0.0.1:4041';
/** The sidecar is on the same machine: a longer silence means that it is not there. */
const sidecarWithinMs = 500;
/** So long nobody else may lead: as long as the answer may take, and far longer than a write takes. */
const hold = '600ms';
let writes = 0;

/** The sidecar's answer and the moment up to which a write may be made; null when it does not answer. */
async function askLeader(query) {
  const sentAtMs = performance.now();
  try {
    const signal = AbortSignal.timeout(sidecarWithinMs);
    const answer = await (await fetch(`${sidecar}/leader${query}`, { signal })).json();
    return { ...answer, heldUntilMs: sentAtMs + (answer.heldForMs ?? 0) };
  } catch {
    return null;
  }
}

async function reply(request, response) {
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const answer = await askLeader(isRead ? '' : `?hold=${hold}`);
  const about = { app: name, role: answer?.role ?? 'unknown', leader: answer?.leader?.id ?? null };
  const mayWrite = answer?.isLeader === true && performance.now() < answer.heldUntilMs;
  if (!isRead && !mayWrite) {
    response.writeHead(503, { 'Content-Type': 'application/json', 'Retry-After': '1' });
    response.end(`${JSON.stringify({ ...about, error: 'not the leader' })}\n`);
    return;
  }
  // A store shared with others would get the token too, and refuse one lower than it has seen.
  const written = isRead ? {} : { write: ++writes, fencingToken: answer.fencingToken };
  response.writeHead(isRead ? 200 : 201, { 'Content-Type': 'application/json' });
  response.end(`${JSON.stringify({ ...about, ...written })}\n`);
}

const server = createServer((request, response) => {
  request.resume();
  void reply(request, response);
});
server.listen(port, () => console.log(`${name} listens on port ${port}`));
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close();
    server.closeAllConnections();
  });
}
