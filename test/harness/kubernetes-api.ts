// A stand-in for the API server of Kubernetes, by real TLS: pods with labels, and one right, to patch them. It refuses what the
// real one would: another token, another method or content type, a pod that it does not have.
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Certificates } from './certificates.ts';

type Labels = Readonly<Record<string, string>>;

interface Patch {
  readonly metadata: { readonly labels: Readonly<Record<string, string | null>> };
}

/** Instead of doing what is asked: a status with these words, or no answer at all. */
export type Trouble = { readonly status: number; readonly message: string } | 'silence';

export interface KubernetesApi {
  /** What a pod has in its environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** The folder that the kubelet mounts. */
  readonly account: string;
  /** Of each pod of the namespace `shop`. */
  readonly pods: Map<string, Labels>;
  /** Every change of a label that was carried out, in order: `orders-0 role=leader`, `orders-0 role=`. */
  readonly changes: readonly string[];
  /** Every request: its status, or null where there was no answer. */
  readonly asked: readonly (number | null)[];
  /** For each request from now on. */
  trouble: Trouble | null;
  /** From now on only this token is good, and it is the one in the folder. */
  renewToken(token: string): Promise<void>;
  close(): Promise<void>;
}

const path = /^\/api\/v1\/namespaces\/shop\/pods\/([^/?]+)\?fieldManager=electord$/;

class StandIn implements KubernetesApi {
  readonly account: string;
  readonly pods = new Map<string, Labels>();
  readonly changes: string[] = [];
  readonly asked: (number | null)[] = [];
  readonly #server: Server;
  #token = '';
  trouble: Trouble | null = null;

  constructor(server: Server, account: string) {
    this.#server = server;
    this.account = account;
    server.on('request', (request, response) => void this.#answer(request, response));
  }

  get environment(): Readonly<Record<string, string>> {
    const address = this.#server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    return { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(port) };
  }

  async renewToken(token: string): Promise<void> {
    await writeFile(join(this.account, 'token'), `${token}\n`);
    this.#token = token;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const { trouble } = this;
    if (trouble === 'silence') {
      this.asked.push(null);
      return;
    }
    const { status, message } = trouble ?? this.#carryOut(request, body);
    this.asked.push(status);
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ kind: status === 200 ? 'Pod' : 'Status', message }));
  }

  #carryOut(request: IncomingMessage, body: string): { status: number; message: string } {
    const { method, url = '', headers } = request;
    if (headers.authorization !== `Bearer ${this.#token}`) {
      return { status: 401, message: 'Unauthorized' };
    }
    if (method !== 'PATCH') return { status: 405, message: 'method not allowed' };
    if (headers['content-type'] !== 'application/merge-patch+json') {
      return { status: 415, message: 'the body of the request was in an unknown format' };
    }
    const name = path.exec(url)?.[1] ?? url;
    const labels = this.pods.get(name);
    if (labels === undefined) return { status: 404, message: `pods "${name}" not found` };
    const after = new Map(Object.entries(labels));
    for (const [key, value] of Object.entries((JSON.parse(body) as Patch).metadata.labels)) {
      if (value === null) after.delete(key);
      else after.set(key, value);
      this.changes.push(`${name} ${key}=${value ?? ''}`);
    }
    this.pods.set(name, Object.fromEntries(after));
    return { status: 200, message: '' };
  }
}

/** Starts one on a free port, with the server's certificate of these. */
export async function startKubernetesApi({
  server: { cert, key },
  authority,
  folder,
}: Certificates): Promise<KubernetesApi> {
  const account = join(folder, 'account');
  await mkdir(account, { recursive: true });
  await writeFile(join(account, 'ca.crt'), authority.cert);
  await writeFile(join(account, 'namespace'), 'shop');
  const server = createServer({ cert, key });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const api = new StandIn(server, account);
  await api.renewToken('first-token');
  return api;
}
