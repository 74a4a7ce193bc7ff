// Real answers of real sidecars, held against the document that the same sidecar serves: every member that is there is
// described, and every member that is described as always there is there.
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Answer, GetOptions, Sidecar } from '../harness/sidecar.ts';
import { agreement, openStage, type Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ size: 1 });
});
afterEach(() => stage.clear());
afterAll(() => stage.end());

interface Document {
  readonly openapi: string;
  readonly paths: Record<
    string,
    Record<string, { responses: Record<string, { content?: Record<string, { schema?: object }> }> }>
  >;
}

/** The document lets newer versions add members; what this one answers is described to the last. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const inside = Object.fromEntries(Object.entries(schema).map(([key, one]) => [key, closed(one)]));
  const isOpen = 'properties' in schema && !('additionalProperties' in schema);
  return isOpen ? { ...inside, additionalProperties: false } : inside;
}

/** Asks, and holds the answer against the document. */
class Examiner {
  readonly asked = new Set<string>();
  readonly #sidecar: Sidecar;
  readonly #document: Document;
  readonly #ajv: Ajv2020;

  constructor(sidecar: Sidecar, document: Document) {
    this.#sidecar = sidecar;
    this.#document = document;
    this.#ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
    this.#ajv.addSchema(closed(document) as Document, 'document');
  }

  static async of(sidecar: Sidecar): Promise<Examiner> {
    const { body } = await sidecar.get<Document>('/openapi.json', { local: true });
    return new Examiner(sidecar, body);
  }

  /** `path` as the document has it; `at` is the same with its parameters filled in. */
  async ask(
    method: 'get' | 'put' | 'post' | 'delete',
    path: string,
    status: number,
    more: GetOptions & { readonly at?: string } = {},
  ): Promise<Answer> {
    const { at = path, ...options } = more;
    const asking = { local: true, method: method.toUpperCase(), timeoutMs: 20_000, ...options };
    const answer = await this.#sidecar.get(at, asking);
    expect(answer.status, `${method} ${at}: ${answer.text}`).toBe(status);
    const { responses } = this.#document.paths[path]![method]!;
    const response = responses[String(status)];
    expect(response, `${method} ${path} is described with ${status}`).toBeDefined();
    const [type] = (answer.headers['content-type'] ?? '').split(';');
    const schema = response!.content?.[type!]?.schema;
    if (schema !== undefined) {
      const validate = this.#validator(schema as { $ref: string });
      expect(validate(answer.body), `${at}: ${JSON.stringify(validate.errors)}`).toBe(true);
      this.asked.add(`${method} ${path} ${String(status)}`);
    }
    return answer;
  }

  #validator({ $ref }: { readonly $ref: string }): ValidateFunction {
    return this.#ajv.compile({ $ref: `document${$ref}` });
  }
}

const json = (body: unknown): GetOptions => ({
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

test('what the sidecars answer is what the document says', { timeout: 120_000 }, async () => {
  const advertise = ['--advertise=10.0.0.7:8080'];
  const { leader, others } = await agreement(
    await stage.three({ election: 'told', args: advertise }),
  );
  const examined = await Examiner.of(leader);
  const { fencingToken: token } = (await examined.ask('get', '/leader', 200)).body as {
    fencingToken: string;
  };
  await examined.ask('get', '/leader', 200, { at: '/leader?hold=10ms' });
  await examined.ask('get', '/leader', 400, { at: '/leader?hold=soon' });
  await examined.ask('get', '/elections/{election}/primary', 200, {
    at: '/elections/told/primary',
  });
  await examined.ask('get', '/follower', 503);
  for (const path of ['/health', '/livez', '/readyz', '/status', '/members', '/history']) {
    await examined.ask('get', path, 200);
  }
  for (const path of ['/read-only', '/cluster', '/patroni']) await examined.ask('get', path, 200);
  await examined.ask('get', '/elections', 200);
  await examined.ask('get', '/', 200);
  await examined.ask('get', '/fence/{token}', 200, { at: `/fence/${token}` });
  await examined.ask('get', '/fence/{token}', 409, { at: '/fence/1' });
  const at = '/state/a/b';
  const text = { headers: { 'content-type': 'text/plain' }, body: 'x' };
  await examined.ask('get', '/state/{key}', 404, { at });
  const put = await examined.ask('put', '/state/{key}', 200, { at, ...text });
  expect(put.headers.etag).toBeDefined();
  await examined.ask('put', '/state/{key}', 412, {
    at,
    body: 'x',
    headers: { 'content-type': 'text/plain', 'if-none-match': '*' },
  });
  await examined.ask('get', '/state/{key}', 200, { at });
  await examined.ask('delete', '/state/{key}', 204, { at });
  await examined.ask('post', '/journal', 201, json({ n: 1 }));
  await examined.ask('get', '/journal', 200);
  await examined.ask('post', '/pause', 200, json({ for: '1m', reason: 'a test' }));
  await examined.ask('get', '/status', 200);
  await examined.ask('post', '/resume', 200);
  await examined.ask('post', '/step-down', 422, json({ why: 'misspelt' }));
  await examined.ask('post', '/switchover', 409, json({ to: 'nobody' }));
  const successor = others[0]!;
  await examined.ask('post', '/switchover', 200, json({ to: successor.id, reason: 'a test' }));
  await examined.ask('post', '/step-down', 409, json({}));
  await examined.ask('put', '/state/{key}', 409, { at, ...text });
  await examined.ask('get', '/leader', 503);
  await examined.ask('get', '/follower', 200);
  await examined.ask('get', '/history', 200);
  await examined.ask('get', '/audit', 200);
  expect(examined.asked.size).toBeGreaterThanOrEqual(28);

  const second = await Examiner.of(successor);
  await second.ask('post', '/step-down', 200, json({ notFor: '1s' }));
  expect(second.asked.size).toBe(1);
});

test('the public listener describes itself only', async () => {
  const one = await stage.sidecar({ election: 'public', id: 'a' });
  await agreement([one]);
  const { status, body } = await one.get<Document>('/openapi.json');
  expect(status).toBe(200);
  expect(body.openapi).toBe('3.1.0');
  expect(Object.keys(body.paths)).not.toContain('/step-down');
});
