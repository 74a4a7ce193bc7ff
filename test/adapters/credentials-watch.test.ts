// Credentials that are renewed on disk: what is taken up, and what is not, on real files.
import { mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { loadConfiguration, type Configuration } from '../../src/config/configuration.ts';
import { CredentialsWatch } from '../../src/config/credentials-watch.ts';
import { formatFaults } from '../../src/config/faults.ts';
import type { Credentials } from '../../src/config/files.ts';
import { SystemClock } from '../../src/process/clock.ts';
import { makeCertificates, type Certificates, type KeyPair } from '../harness/certificates.ts';
import { eventually } from '../harness/wait.ts';

let certificates: Certificates;
let folder: string;
let watch: CredentialsWatch;
let current: Credentials;
const taken: Credentials[] = [];
const complaints: string[] = [];

beforeAll(async () => {
  certificates = await makeCertificates();
});
afterAll(() => certificates.remove());

const write = (name: string, content: string): Promise<void> =>
  writeFile(join(folder, name), content);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'electord-renewed-'));
  await write('tls.crt', certificates.server.cert);
  await write('tls.key', certificates.server.key);
  await write('token', 'first\n');
  const loaded = loadConfiguration({
    flags: {
      election: 'orders',
      tlsCert: join(folder, 'tls.crt'),
      tlsKey: join(folder, 'tls.key'),
      tokenFile: join(folder, 'token'),
    },
    environment: {},
    readFile: (path) => readFileSync(path, 'utf8'),
    hostName: 'orders-0',
    addresses: [],
    hasIpv6: true,
  });
  if (!loaded.ok) throw new Error(formatFaults(loaded.faults));
  const configuration: Configuration = loaded.configuration;
  current = loaded.credentials;
  watch = new CredentialsWatch({
    clock: new SystemClock(),
    sources: () => configuration,
    current: () => current,
    usable: (read) => read,
    onRead: (credentials) => {
      if (credentials === current) return;
      current = credentials;
      taken.push(credentials);
    },
    onUnusable: (faults) => complaints.push(formatFaults(faults)),
    lookEveryMs: 20,
  });
  watch.start();
});

afterEach(async () => {
  watch.stop();
  taken.length = 0;
  complaints.length = 0;
  await rm(folder, { recursive: true, force: true });
});

const comesTrue = (what: string, check: () => boolean): Promise<boolean> =>
  eventually(check, { withinMs: 20_000, what });

const uses = (pair: KeyPair): boolean =>
  current.tlsCert === pair.cert && current.tlsKey?.reveal() === pair.key;

test('a pair that does not fit yet is not taken, is told of once, and is taken when it fits', async () => {
  const { client, server } = certificates;
  await write('tls.crt', client.cert);
  await comesTrue('a complaint', () => complaints.length > 0);
  expect(complaints[0]).toContain('does not belong to the certificate');
  expect(uses(server)).toBe(true);
  // What is told of twice would be told of before this has been looked at.
  await write('token', 'second\n');
  await comesTrue('another complaint, of another content', () => complaints.length > 1);
  await write('tls.key', client.key);
  await comesTrue('the new pair', () => uses(client));
  expect(current.token?.reveal()).toBe('second');
  expect(taken).toHaveLength(1);
  expect(complaints).toHaveLength(2);
});

test('a chain that is cut off in its second certificate is not taken', async () => {
  const { client, server, authority } = certificates;
  await write('tls.key', client.key);
  await write('tls.crt', client.cert + authority.cert.slice(0, 200));
  await comesTrue('a complaint', () => complaints.some((one) => one.includes('broken PEM')));
  expect(uses(server)).toBe(true);
  await write('tls.crt', client.cert + authority.cert);
  await comesTrue('the whole chain', () => current.tlsCert === client.cert + authority.cert);
});

test('another file under the same name, and a link that points elsewhere', async () => {
  await write('token.new', 'renamed');
  await rename(join(folder, 'token.new'), join(folder, 'token'));
  await comesTrue('the renamed token', () => current.token?.reveal() === 'renamed');
  await write('elsewhere', 'linked');
  await symlink(join(folder, 'elsewhere'), join(folder, 'link'));
  await rename(join(folder, 'link'), join(folder, 'token'));
  await comesTrue('the linked token', () => current.token?.reveal() === 'linked');
  expect(taken).toHaveLength(2);
  expect(complaints).toEqual([]);
});

test('a file that is gone, and back as it was, changes nothing', async () => {
  const token = await readFile(join(folder, 'token'), 'utf8');
  await rm(join(folder, 'token'));
  await comesTrue('a complaint', () => complaints.length > 0);
  expect(complaints[0]).toContain('does not exist');
  await write('token', token);
  await write('tls.key', certificates.client.key);
  await comesTrue('the next complaint', () => complaints.length > 1);
  expect(taken).toEqual([]);
});
