// The status page in many windows of one browser, behind a proxy of another name, and while etcd is away: what a browser
// allows and what a proxy changes is no reason for a page that hangs, and all parts of a page say the same.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { browserWithinMs, startChromium, type Browser } from '../harness/chromium.ts';
import { startPrefixProxy } from '../harness/prefix-proxy.ts';
import type { Sidecar } from '../harness/sidecar.ts';
import { eventually } from '../harness/wait.ts';
import { agreement, openStage, type Stage } from './stage.ts';

const soonMs = 20_000;
const ttl = '--ttl=5s';
/** A browser opens six connections to a host. */
const manyWindows = 8;

let stage: Stage;
let browser: Browser;
const contexts: BrowserContext[] = [];

beforeAll(async () => {
  [stage, browser] = await Promise.all([openStage({ size: 1 }), startChromium()]);
}, browserWithinMs);

afterEach(async () => {
  await Promise.all(contexts.splice(0).map((context) => context.close()));
  await stage.clear();
});

afterAll(async () => {
  await browser.close();
  await stage.end();
});

async function openContext(script?: string): Promise<BrowserContext> {
  const context = await browser.open();
  context.setDefaultTimeout(soonMs);
  if (script !== undefined) await context.addInitScript(script);
  contexts.push(context);
  return context;
}

/** One sidecar that leads all of its elections. */
async function alone(election: string, args: readonly string[] = []): Promise<Sidecar> {
  const sidecar = await stage.sidecar({ election, id: 'a', args: [ttl, ...args] });
  const [first = ''] = election.split(',');
  await eventually(
    async () => (await sidecar.get(`/elections/${first}/leader`).catch(() => null))?.status === 200,
    { withinMs: soonMs, what: `a leader of ${first}` },
  );
  return sidecar;
}

async function windowOf(context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

const text = async (page: Page, selector: string): Promise<string> =>
  (await page.locator(selector).first().textContent()) ?? '';

const shows = (page: Page, selector: string, wanted: RegExp | string): Promise<unknown> =>
  eventually(
    async () => {
      const found = await text(page, selector);
      return typeof wanted === 'string' ? found === wanted : wanted.test(found);
    },
    { withinMs: soonMs, what: `${selector} with ${String(wanted)}` },
  );

/** The page gets frames, which come by the stream alone. */
const streams = (page: Page, id: string): Promise<unknown> =>
  page.waitForSelector(`#members [data-member="${id}"][data-word="self"]`);

/** How many streams the sidecar serves. */
async function streamsOf({ url }: Sidecar): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(/^electord_event_clients\{.*\} (\d+)$/m.exec(metrics)?.[1]);
}

async function streamsAre(sidecar: Sidecar, count: number): Promise<void> {
  const are = eventually(async () => (await streamsOf(sidecar)) === count, {
    withinMs: 2 * soonMs,
    what: `${count} streams`,
  });
  expect(await are).toBe(true);
}

test('loads and lives in many windows of one browser, which share one stream', async () => {
  const { leader, others } = await agreement(
    await stage.three({ election: 'windows', args: [ttl] }),
  );
  const [shown] = others;
  const context = await openContext();
  const pages: Page[] = [];
  for (let each = 0; each < manyWindows; each += 1) pages.push(await windowOf(context, shown!.url));
  for (const page of pages) {
    await shows(page, '#leader-id', leader.id);
    await shows(page, '#fresh-text', 'live');
    await streams(page, shown!.id);
  }
  await streamsAre(shown!, 1);
  leader.signal('SIGKILL');
  const after = await agreement(others);
  for (const page of pages) await shows(page, '#leader-id', after.leader.id);
  // The one that opened the stream is gone, and the others live on.
  await pages.shift()?.close();
  const still = after.leader;
  still.signal('SIGSTOP');
  for (const page of pages) {
    if (still === shown) await page.waitForSelector('#stale', { state: 'visible' });
    else await shows(page, '#alarms li', /is leader in etcd but does not answer/);
  }
  still.signal('SIGCONT');
  for (const page of pages) await shows(page, '#fresh-text', 'live');
  for (const page of pages) await page.close();
  await streamsAre(shown!, 0);
});

test('shows to each window the election that it looks at, on one stream', async () => {
  const sidecar = await alone('one,two');
  const context = await openContext();
  const first = await windowOf(context, `${sidecar.url}/#/one`);
  const second = await windowOf(context, `${sidecar.url}/#/two`);
  const list = await windowOf(context, sidecar.url);
  for (const [page, election] of [
    [first, 'one'],
    [second, 'two'],
  ] as const) {
    await shows(page, '#name', election);
    await streams(page, 'a');
  }
  await shows(list, '#fresh-text', 'live');
  await streamsAre(sidecar, 1);
});

test('does with a stream for each window where there is no worker, or it cannot be loaded, or is mute', async () => {
  const sidecar = await alone('alone');
  const none = await windowOf(await openContext('delete globalThis.SharedWorker'), sidecar.url);
  await streams(none, 'a');
  await shows(none, '#fresh-text', 'live');
  const proxy = await startPrefixProxy({
    target: () => sidecar.url,
    name: '127.0.0.1',
    prefix: '/electord',
    withholds: (path) => path.startsWith('/worker.js'),
  });
  onTestFinished(() => proxy.close());
  const withheld = await windowOf(await openContext(), proxy.url);
  await streams(withheld, 'a');
  await shows(withheld, '#fresh-text', 'live');
  const mute = 'globalThis.SharedWorker = class { port = { postMessage() {} }; }';
  const unheard = await windowOf(await openContext(mute), sidecar.url);
  await streams(unheard, 'a');
  await streamsAre(sidecar, 3);
});

test('rests in a tab that was opened behind others and never looked at', async () => {
  const sidecar = await alone('behind');
  const hidden = `Object.defineProperty(document, 'hidden', { get: () => globalThis.seen !== true });`;
  const context = await openContext(hidden);
  const page = await context.newPage();
  await page.clock.install();
  await page.goto(sidecar.url);
  await streamsAre(sidecar, 1);
  await page.clock.fastForward(31_000);
  await eventually(async () => (await page.title()) === 'electord (asleep)', {
    withinMs: soonMs,
    what: 'a page that rests',
  });
  await streamsAre(sidecar, 0);
  await page.evaluate(
    `globalThis.seen = true; document.dispatchEvent(new Event('visibilitychange'))`,
  );
  await streamsAre(sidecar, 1);
});

test('works under a path and behind a proxy of another name, verbs and all', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'electord-page-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'token');
  writeFileSync(file, 'open-sesame\n');
  let target = '';
  const proxy = await startPrefixProxy({
    target: () => target,
    name: 'ops.example',
    prefix: '/electord/orders-0',
  });
  onTestFinished(() => proxy.close());

  async function pause(page: Page): Promise<void> {
    await page.click('[data-verb="pause"]');
    await page.fill('#verb-reason', 'to see');
    await page.click('dialog .go');
    await page.waitForSelector('dialog .outcome[data-tone]');
  }

  const token = `--token-file=${file}`;
  const closed = await alone('closed', [token]);
  target = closed.localUrl;
  const early = await openContext();
  const refused = await windowOf(early, proxy.url);
  await streams(refused, 'a');
  await pause(refused);
  await shows(refused, 'dialog .outcome', /host that this listener is not known by/);
  // It would follow to the next sidecar.
  await early.close();

  const publicUrl = `--public-url=${proxy.url}`;
  const sidecar = await alone('open', [token, publicUrl]);
  target = sidecar.localUrl;
  // With the slash and without it.
  for (const url of [proxy.url, `${proxy.url}/`]) {
    const context = await openContext();
    const pages = [await windowOf(context, url), await windowOf(context, url)];
    for (const page of pages) {
      await streams(page, 'a');
      await shows(page, '#fresh-text', 'live');
      await page.waitForSelector('#terms-rows [role="row"]');
    }
    await streamsAre(sidecar, 1);
    await context.close();
    await streamsAre(sidecar, 0);
  }
  const page = await windowOf(await openContext(), proxy.url);
  await pause(page);
  await shows(page, 'dialog .outcome', /^A bearer token is required/);
  await page.fill('#verb-token', 'open-sesame');
  await page.click('dialog .go');
  await shows(page, 'dialog .outcome', /^Nobody campaigns until/);
  expect(proxy.asked.some((path) => path.startsWith('/worker.js?'))).toBe(true);
});

/** What the parts of a page say at one moment, and whether two of them contradict each other. */
const watchParts = `
  globalThis.contradictions = [];
  const say = (id) => document.getElementById(id)?.textContent ?? '';
  const look = () => {
    const leader = say('leader-id');
    const newest = document.querySelector('#terms-rows [role="row"]')?.textContent ?? '';
    const picture = document.querySelector('#timeline .current title')?.textContent ?? '';
    for (const part of [newest, picture]) {
      if (leader === 'Not known' && part.includes('leads now')) contradictions.push([leader, part]);
      if (/^[abc]$/.test(leader) && part.includes('last heard')) contradictions.push([leader, part]);
    }
    if (leader === 'Not known' && / leads /.test(document.title)) contradictions.push([leader, document.title]);
    const ages = [...document.body.innerText.matchAll(/asked (.*?) ago/g)].map(([, age]) => age);
    if (new Set(ages).size > 1) contradictions.push(ages);
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
`;

test('says the same in all its parts while etcd is away, and draws nothing beyond what it knows', async () => {
  const { others, leader } = await agreement(await stage.three({ election: 'away', args: [ttl] }));
  const page = await windowOf(await openContext(), others[0]!.url);
  await shows(page, '#leader-id', leader.id);
  await shows(page, '#terms-rows [role="row"]', /leads now/);
  await page.evaluate(watchParts);
  stage.cluster.nodes[0]!.freeze();
  await shows(page, '#leader-id', 'Not known');
  await shows(page, '#terms-rows [role="row"]', /led when last heard of/);
  await shows(page, '#alarms', /The check “etcd” of this sidecar fails. etcd asked \d+ s ago/);
  expect(await page.title()).toBe('away: not known who leads');
  const ledFor = (): Promise<string> => text(page, '#terms-rows [data-label="Led for"]');
  const etcdAge = async (): Promise<number> =>
    Number(/asked (\d+)/.exec(await text(page, '#facts dd'))?.[1]);
  const [led, age] = [await ledFor(), await etcdAge()];
  await eventually(async () => (await etcdAge()) > age + 2, { withinMs: soonMs, what: 'time' });
  // Within the rounding of two answers, while seconds have gone by.
  const milliseconds = (words: string): number =>
    parseFloat(words) * (words.endsWith(' ms') ? 1 : 1000);
  expect(Math.abs(milliseconds(await ledFor()) - milliseconds(led))).toBeLessThanOrEqual(1000);
  stage.cluster.nodes[0]!.thaw();
  await shows(page, '#leader-id', /^[abc]$/);
  await shows(page, '#terms-rows [role="row"]', /leads now/);
  expect(await page.evaluate('contradictions')).toEqual([]);
});
