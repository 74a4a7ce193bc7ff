// TLS as people live with it: every command reaches a sidecar by https, says in plain words what is wrong where it does not,
// and so do children, hooks, checks and other members; probes go without a certificate where writing verbs may not.
import { execFile } from 'node:child_process';
import { createServer as createHttps, request as requestHttps } from 'node:https';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { projectFolder } from '../harness/binaries.ts';
import { makeCertificates, type Certificates, type KeyPair } from '../harness/certificates.ts';
import { eventually } from '../harness/wait.ts';
import { openStage, type Stage } from './stage.ts';

const program = join(projectFolder, 'dist', 'electord.js');
const withinMs = 30_000;

let stage: Stage;
let certificates: Certificates;

beforeAll(async () => {
  [stage, certificates] = await Promise.all([openStage({ size: 1 }), makeCertificates()]);
});
afterEach(() => stage.clear());
afterAll(async () => {
  await stage.end();
  await certificates.remove();
});

const secure = (url: string): string =>
  url.replace('http:', 'https:').replace('localhost', '127.0.0.1');

interface Ran {
  readonly code: number;
  readonly text: string;
}

/** Runs a command of the program without any setting but these. */
function electord(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return new Promise<Ran>((resolve) => {
    const all = { PATH: process.env['PATH'] ?? '', ...env };
    const child = execFile(process.execPath, [program, ...args], { env: all }, (_, out, err) =>
      resolve({ code: child.exitCode ?? -1, text: out + err }),
    );
  });
}

const served = ({ certFile, keyFile } = certificates.server): readonly string[] => [
  `--tls-cert=${certFile}`,
  `--tls-key=${keyFile}`,
];
const withCa = (): readonly string[] => [`--ca=${certificates.authority.certFile}`];
const showing = ({ certFile, keyFile } = certificates.client): readonly string[] => [
  `--cert=${certFile}`,
  `--key=${keyFile}`,
];

/** The status of GET, or null where there is no answer. */
function get(url: string, pair: KeyPair | null): Promise<number | null> {
  const shown = pair === null ? {} : { cert: pair.cert, key: pair.key };
  const options = { ca: certificates.authority.cert, agent: false as const, ...shown };
  return new Promise((resolve) => {
    const asked = requestHttps(url, options, (answer) => {
      answer.resume().on('error', () => undefined);
      resolve(answer.statusCode ?? null);
    });
    asked.on('error', () => resolve(null)).end();
  });
}

describe('the command line', () => {
  test('says in plain words why a handshake was refused', async () => {
    const { client, foreignClient, authority } = certificates;
    const expired = await certificates.issue('expired', {
      commonName: 'x',
      notAfter: new Date(Date.now() - 60_000),
    });
    const ca = `--tls-client-ca=${authority.certFile}`;
    const [plain, strict, old] = await Promise.all([
      stage.sidecar({ election: 'plain', id: 'a' }),
      stage.sidecar({ election: 'strict', id: 'a', args: [...served(), ca] }),
      stage.sidecar({ election: 'old', id: 'a', args: served(expired) }),
    ]);
    for (const one of [plain, strict, old]) {
      await one.waitForLog(({ msg }) => /^leads /.test(String(msg)), withinMs);
    }
    const [plainUrl, url, oldUrl] = [plain, strict, old].map(({ localUrl }) => localUrl) as [
      ...[string, string, string],
    ];
    const status = (address: string, ...args: readonly string[]): Promise<Ran> =>
      electord(['status', `--url=${address}`, ...args]);
    const cases: readonly (readonly [Promise<Ran>, RegExp])[] = [
      [status(secure(url)), /an authority that is not trusted here: name .* by --ca/],
      [
        status(secure(url), ...withCa(), '--server-name=orders-0'),
        /its certificate is for localhost, 127\.0\.0\.1, and not for orders-0: say which by --server-name/,
      ],
      [
        status(secure(url), ...withCa()),
        /it asks for a client certificate: give one by --cert and --key/,
      ],
      [
        status(secure(url), ...withCa(), ...showing(foreignClient)),
        /client certificate \(--cert\) has expired or is signed by an authority that it does not trust/,
      ],
      [status(secure(oldUrl), ...withCa()), /its certificate has expired/],
      [status(secure(plainUrl), ...withCa()), /it does not speak TLS: ask it by http:\/\//],
      [status(url.replace('https:', 'http:')), /if it serves HTTPS, ask it by https:\/\//],
    ];
    for (const [ran, words] of cases) {
      const { code, text } = await ran;
      expect(text).toMatch(words);
      expect(text).not.toMatch(/:error:|ssl3_|OPENSSL|socket hang up/i);
      expect(code).toBe(1);
    }
    const wrongPair = [`--cert=${client.certFile}`, `--key=${foreignClient.keyFile}`];
    expect(await status(secure(url), ...withCa(), ...wrongPair)).toMatchObject({
      code: 64,
      text: expect.stringContaining('the key does not belong to the client certificate') as string,
    });
    const well = await status(secure(url), ...withCa(), ...showing());
    expect([well.code, well.text]).toEqual([0, expect.stringContaining('strict')]);
    // The name instead of the address, and everything from the environment.
    const env = {
      ELECTORD_LOCAL_URL: secure(url),
      ELECTORD_CA: authority.certFile,
      ELECTORD_CERT: client.certFile,
      ELECTORD_KEY: client.keyFile,
      ELECTORD_SERVER_NAME: 'localhost',
    };
    expect((await electord(['status'], env)).code).toBe(0);
  });

  test('--tls-client-auth request: probes and scrapers need no certificate, writing verbs do', async () => {
    const args = [
      ...[...served(), `--tls-client-ca=${certificates.authority.certFile}`],
      '--tls-client-auth=request',
    ];
    const sidecar = await stage.sidecar({ election: 'asked', id: 'a', args });
    await sidecar.waitForLog(({ msg }) => /^leads /.test(String(msg)), withinMs);
    const [open, local] = [secure(sidecar.url), secure(sidecar.localUrl)];
    const { client, foreignClient } = certificates;
    for (const path of ['/leader', '/livez', '/readyz', '/health', '/metrics', '/status']) {
      expect([path, await get(open + path, null)]).toEqual([path, 200]);
      expect([path, await get(local + path, null)]).toEqual([path, 200]);
    }
    expect(await get(`${local}/leader?hold=1s`, null)).toBe(403);
    expect(await get(`${local}/leader?hold=1s`, foreignClient)).toBe(403);
    expect(await get(`${local}/leader?hold=1s`, client)).toBe(200);
    const ask = (...shown: readonly string[]): Promise<Ran> =>
      electord(['pause', '--reason=test', `--url=${local}`, ...withCa(), ...shown]);
    for (const refused of [await ask(), await ask(...showing(foreignClient))]) {
      expect(refused.code).toBe(1);
      expect(refused.text).toMatch(/certificate that --tls-client-ca has signed/);
    }
    expect((await ask(...showing())).code).toBe(0);
    const { text } = await electord(['audit', '--json', `--url=${local}`, ...withCa()]);
    expect(text).toContain('"electord"');
    expect(text.match(/"verb":"pause"/g)).toHaveLength(1);
  });
});

test('the health check of the image works with TLS and without', async () => {
  const dockerfile = await readFile(join(projectFolder, 'deploy/docker/Dockerfile'), 'utf8');
  const [, script = ''] = /CMD (\["node", "-e", "const ask.*\])/.exec(dockerfile) ?? [];
  const [, flag = '', code = ''] = JSON.parse(script) as string[];
  const check = (url: string): Promise<number | null> =>
    new Promise((resolve) => {
      const at = code.replace('localhost:4040', new URL(url).host);
      const child = execFile(process.execPath, [flag, at], () => resolve(child.exitCode));
    });
  const strict = [...served(), `--tls-client-ca=${certificates.authority.certFile}`];
  for (const [index, args] of [[], served(), strict].entries()) {
    const sidecar = await stage.sidecar({ election: `image-${index}`, id: 'a', args });
    await sidecar.waitForLog(({ msg }) => /^leads /.test(String(msg)), withinMs);
    expect(await check(sidecar.url)).toBe(0);
    await sidecar.stop();
    expect(await check(sidecar.url)).toBe(1);
  }
});

test('a hook asks its sidecar by https without a flag; the app is checked by https', async () => {
  const { authority, server } = certificates;
  const app = createHttps({ key: server.key, cert: server.cert }, (_, answer) => answer.end('ok'));
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  const address = app.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const own = [...served(), `--tls-client-ca=${authority.certFile}`, ...withCa()];
  const check = `--app-check=https://127.0.0.1:${port}/`;
  const hook = `--on-elected=exec:${process.execPath} ${program} status --json >&2`;
  const sidecar = await stage.sidecar({ election: 'beside', id: 'a', args: [...own, check, hook] });
  try {
    await sidecar.waitForLog(({ msg }) => /^leads /.test(String(msg)), withinMs);
    await eventually(() => sidecar.output().includes('"election":"beside"'), {
      withinMs,
      what: 'what the hook was told',
    });
    expect(sidecar.logs.filter(({ level }) => level === 'error')).toEqual([]);
  } finally {
    app.closeAllConnections();
    app.close();
  }
}, 60_000);

test('members ask each other by https, where each demands a certificate', async () => {
  const { authority } = certificates;
  const own = [
    ...[...served(), `--tls-client-ca=${authority.certFile}`, ...withCa()],
    '--fast-failover=1s',
  ];
  const election = 'members';
  const one = await stage.sidecar({ election, id: 'a', args: own });
  await one.waitForLog(({ msg }) => /^leads /.test(String(msg)), withinMs);
  await stage.sidecar({ election, id: 'b', args: own });
  const url = `--url=${secure(one.localUrl)}`;
  await eventually(
    async () => {
      const { text } = await electord(['status', '--json', url, ...withCa(), ...showing()]);
      return /"witnesses":\[[^\]]*"b"/.test(text);
    },
    { withinMs, what: 'a witness' },
  );
  const page = await peersSeen(secure(one.url));
  expect(page).toMatch(/"id":"b"[^}]*"answered"|"b"[^}]*"role":"follower"/);
}, 60_000);

/** What the status page is told of the members, until all were asked. */
function peersSeen(url: string): Promise<string> {
  const { cert, key } = certificates.client;
  const options = { ca: certificates.authority.cert, agent: false as const, cert, key };
  return new Promise((resolve, reject) => {
    let text = '';
    const asked = requestHttps(`${url}/elections/members/peers`, options, (answer) => {
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        if ((text.match(/\n\n/g) ?? []).length < 8) return;
        resolve(text);
        asked.destroy();
      });
      answer.on('error', () => undefined).on('end', () => resolve(text));
    });
    asked.on('error', reject).end();
  });
}
